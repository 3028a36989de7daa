//! Where the bytes of a small file lie in a FAT file system, so that one sector can be rewritten in place: no directory entry, no
//! allocation table, no timestamp is touched, and there is nothing to repair after a power cut.
//!
//! FAT16 and FAT32 as in Microsoft's "FAT: General Overview of On-Disk Format" 1.03. Only the root directory is searched, only
//! short names (8.3) are compared, only the first cluster is asked for. The card may have been in anybody's hands: every number
//! of it is checked.

/// The only sector size of SD cards, in bytes.
pub const SECTOR: usize = 512;

/// Most sectors of a root directory that are searched: far more entries than an owner's partition has.
const DIRECTORY_SECTORS_MAX: u32 = 4096;

const ENTRY: usize = 32;
const ATTRIBUTE_VOLUME: u8 = 0x08;
const ATTRIBUTE_DIRECTORY: u8 = 0x10;
const DELETED: u8 = 0xe5;
const FAT16_CLUSTERS_MIN: u32 = 4085;

/// One sector of the partition.
pub type Sector = [u8; SECTOR];

/// A file of at most one sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Counted from the partition's first.
    pub sector: u64,
    /// The file's length in bytes, 1 to 512: what of the sector counts.
    pub length: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum FatError<E> {
    #[error("the first partition is not a FAT file system that the box can read ({0}); write the card anew")]
    Foreign(&'static str),
    #[error("{0} is missing on the card's first partition; copy it there from the card's image")]
    Missing(String),
    #[error(
        "{0} on the card's first partition is not a file of 1 to 512 bytes; copy it there from the card's image"
    )]
    Length(String),
    #[error("the card's first partition cannot be read: {0}")]
    Read(E),
}

/// Finds `name`, in letters of 8.3, in the root directory; `read` gives a sector of the partition.
pub fn locate<E>(name: &str, mut read: impl FnMut(u64) -> Result<Sector, E>) -> Result<Place, FatError<E>> {
    let volume = Volume::decode(&read(0).map_err(FatError::Read)?).map_err(FatError::Foreign)?;
    let short = short_name(name).ok_or_else(|| FatError::Missing(name.to_owned()))?;
    let mut directory = volume.root;
    for _ in 0..DIRECTORY_SECTORS_MAX {
        let Some(at) = volume.sector_of(directory) else { break };
        let sector = read(at).map_err(FatError::Read)?;
        for entry in sector.chunks_exact(ENTRY) {
            if entry[0] == 0 {
                return Err(FatError::Missing(name.to_owned()));
            }
            if entry[..11] == short && entry[0] != DELETED && entry[11] & ATTRIBUTE_VOLUME == 0 {
                return volume.place(entry).ok_or_else(|| FatError::Length(name.to_owned()));
            }
        }
        directory = match volume.next(directory) {
            Step::To(place) => place,
            Step::Table { sector, offset, cluster } => {
                volume.follow(cluster, &read(sector).map_err(FatError::Read)?, offset)
            }
        };
    }
    Err(FatError::Missing(name.to_owned()))
}

/// What the boot sector says, in sectors unless it says otherwise.
#[derive(Debug, Clone, Copy)]
struct Volume {
    table: u32,
    data: u32,
    cluster_sectors: u32,
    /// The first cluster that there is not.
    clusters_end: u32,
    root: Directory,
}

/// A sector of the root directory.
#[derive(Debug, Clone, Copy)]
enum Directory {
    /// FAT16: a region of its own.
    Fixed { sector: u32, left: u32 },
    /// FAT32: a chain of clusters.
    Chain { cluster: u32, within: u32 },
}

/// How to come to the next sector of a directory.
enum Step {
    To(Directory),
    /// By the entry at this offset of this sector.
    Table {
        sector: u64,
        offset: usize,
        cluster: u32,
    },
}

impl Volume {
    fn decode(boot: &Sector) -> Result<Self, &'static str> {
        if boot[510..] != [0x55, 0xaa] {
            return Err("no boot sector");
        }
        if half(boot, 11) != 512 {
            return Err("its sectors have not 512 bytes");
        }
        let cluster_sectors = u32::from(boot[13]);
        let (table, copies, root_entries) = (half(boot, 14), u32::from(boot[16]), half(boot, 17));
        let sixteen = half(boot, 22);
        let table_sectors = if sixteen == 0 { word(boot, 36) } else { sixteen };
        let total = if half(boot, 19) == 0 { word(boot, 32) } else { half(boot, 19) };
        if !cluster_sectors.is_power_of_two()
            || table == 0
            || !(1..=2).contains(&copies)
            || table_sectors == 0
        {
            return Err("its boot sector makes no sense");
        }
        let root_sectors = (root_entries * 32).div_ceil(512);
        let fixed = table_sectors.checked_mul(copies).and_then(|sectors| sectors.checked_add(table));
        let data = fixed.and_then(|fixed| fixed.checked_add(root_sectors)).filter(|data| *data < total);
        let (Some(fixed), Some(data)) = (fixed, data) else { return Err("its tables are longer than it") };
        let clusters = (total - data) / cluster_sectors;
        let entry = if sixteen == 0 { 4 } else { 2 };
        if clusters < FAT16_CLUSTERS_MIN && sixteen != 0 {
            return Err("it is a FAT12");
        }
        if u64::from(clusters) + 2 > u64::from(table_sectors) * 512 / entry {
            return Err("its table is too short");
        }
        let root = if sixteen == 0 {
            Directory::Chain { cluster: word(boot, 44), within: 0 }
        } else {
            Directory::Fixed { sector: fixed, left: root_sectors }
        };
        Ok(Self { table, data, cluster_sectors, clusters_end: clusters + 2, root })
    }

    /// `None` behind the end.
    fn sector_of(&self, directory: Directory) -> Option<u64> {
        match directory {
            Directory::Fixed { left: 0, .. } => None,
            Directory::Fixed { sector, .. } => Some(sector.into()),
            Directory::Chain { cluster, within } => Some(self.first_sector(cluster)? + u64::from(within)),
        }
    }

    fn first_sector(&self, cluster: u32) -> Option<u64> {
        let valid = (2..self.clusters_end).contains(&cluster);
        valid.then(|| u64::from(self.data) + u64::from(cluster - 2) * u64::from(self.cluster_sectors))
    }

    fn next(&self, directory: Directory) -> Step {
        match directory {
            Directory::Fixed { sector, left } => {
                Step::To(Directory::Fixed { sector: sector.saturating_add(1), left: left.saturating_sub(1) })
            }
            Directory::Chain { cluster, within } if within + 1 < self.cluster_sectors => {
                Step::To(Directory::Chain { cluster, within: within + 1 })
            }
            Directory::Chain { cluster, .. } => Step::Table {
                sector: u64::from(self.table) + u64::from(cluster) * 4 / 512,
                offset: usize::try_from(cluster % 128).expect("below 128") * 4,
                cluster,
            },
        }
    }

    /// A chain that leads back to itself ends the search, as one that has ended does.
    fn follow(&self, cluster: u32, table: &Sector, offset: usize) -> Directory {
        let next = word(table, offset) & 0x0fff_ffff;
        let next = if next == cluster { self.clusters_end } else { next };
        Directory::Chain { cluster: next, within: 0 }
    }

    /// `None` for a folder, an empty file, one of more than a sector, or one that lies nowhere.
    fn place(&self, entry: &[u8]) -> Option<Place> {
        let high = if matches!(self.root, Directory::Chain { .. }) { half(entry, 20) } else { 0 };
        let length = usize::try_from(word(entry, 28)).ok().filter(|length| (1..=SECTOR).contains(length))?;
        let sector = self.first_sector(high << 16 | half(entry, 26))?;
        (entry[11] & ATTRIBUTE_DIRECTORY == 0).then_some(Place { sector, length })
    }
}

/// `AUTOBOOT.TXT` as eleven bytes filled up with blanks.
fn short_name(name: &str) -> Option<[u8; 11]> {
    let (stem, ending) = name.split_once('.').unwrap_or((name, ""));
    if stem.is_empty() || stem.len() > 8 || ending.len() > 3 || !name.is_ascii() {
        return None;
    }
    let mut short = [b' '; 11];
    short[..stem.len()].copy_from_slice(stem.to_ascii_uppercase().as_bytes());
    short[8..8 + ending.len()].copy_from_slice(ending.to_ascii_uppercase().as_bytes());
    Some(short)
}

/// Little-endian; `at` is a place of the format, always inside.
fn half(bytes: &[u8], at: usize) -> u32 {
    u32::from(bytes[at]) | u32::from(bytes[at + 1]) << 8
}

fn word(bytes: &[u8], at: usize) -> u32 {
    half(bytes, at) | half(bytes, at + 2) << 16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sectors of a volume as it is built by hand: boot sector, one table of `table` sectors, root directory.
    fn volume(fat32: bool) -> Vec<Sector> {
        let mut sectors = vec![[0_u8; SECTOR]; 400];
        let boot = &mut sectors[0];
        boot[11..18].copy_from_slice(&[0, 2, 1, 4, 0, 1, 0]);
        boot[510..].copy_from_slice(&[0x55, 0xaa]);
        boot[32..36].copy_from_slice(&70_000_u32.to_le_bytes());
        if fat32 {
            boot[36..40].copy_from_slice(&600_u32.to_le_bytes());
            boot[44..48].copy_from_slice(&2_u32.to_le_bytes());
        } else {
            boot[17..19].copy_from_slice(&32_u16.to_le_bytes());
            boot[22..24].copy_from_slice(&280_u16.to_le_bytes());
        }
        sectors
    }

    fn entry(name: [u8; 11], attribute: u8, cluster: u16, length: u32) -> [u8; ENTRY] {
        let mut entry = [0; ENTRY];
        entry[..11].copy_from_slice(&name);
        entry[11] = attribute;
        entry[26..28].copy_from_slice(&cluster.to_le_bytes());
        entry[28..].copy_from_slice(&length.to_le_bytes());
        entry
    }

    fn find(sectors: &[Sector], first: u64, name: &str) -> Result<Place, FatError<()>> {
        locate(name, |at| {
            // Far sectors (the root of the FAT32 volume) stand at the end of the list.
            let at = if at >= first { at - first + 300 } else { at };
            Ok(usize::try_from(at).ok().and_then(|at| sectors.get(at).copied()).unwrap_or([0; SECTOR]))
        })
    }

    #[test]
    fn a_file_of_fat16_is_found_behind_others() {
        let mut sectors = volume(false);
        sectors[284][..32].copy_from_slice(&entry(*b"GENKAN     ", 8, 0, 0));
        sectors[284][32..64].copy_from_slice(&entry(*b"\xe5UTOBOOTTXT", 0, 7, 1));
        sectors[285][..32].copy_from_slice(&entry(*b"LATER   TXT", 0, 9, 2));
        for at in 2..16 {
            sectors[284][at * 32..][..32].copy_from_slice(&entry(*b"OTHER   BIN", 0, 5, 3));
        }
        sectors[284][480..].copy_from_slice(&entry(*b"AUTOBOOTTXT", 0x20, 8, 512));
        let place = find(&sectors, u64::MAX, "autoboot.txt").expect("is there");
        assert_eq!(place, Place { sector: 286 + 6, length: 512 });
        assert_eq!(find(&sectors, u64::MAX, "later.txt").expect("is there").length, 2);
        assert!(matches!(find(&sectors, u64::MAX, "slot.env"), Err(FatError::Missing(_))));
    }

    #[test]
    fn a_file_of_fat32_is_found_in_a_chain_of_clusters() {
        let mut sectors = volume(true);
        // Root: clusters 2 and 5, whose sectors are 604 and 607.
        sectors[4][8..12].copy_from_slice(&5_u32.to_le_bytes());
        sectors[4][20..24].copy_from_slice(&0x0fff_ffff_u32.to_le_bytes());
        for at in 0..16 {
            sectors[300][at * 32..][..32].copy_from_slice(&entry(*b"OTHER   BIN", 0, 5, 3));
        }
        sectors[303][..32].copy_from_slice(&entry(*b"SLOT    ENV", 0x20, 6, 40));
        assert_eq!(find(&sectors, 604, "slot.env").expect("is there"), Place { sector: 608, length: 40 });
        sectors[4][8..12].copy_from_slice(&2_u32.to_le_bytes());
        assert!(matches!(find(&sectors, 604, "slot.env"), Err(FatError::Missing(_))), "a loop ends");
    }

    #[test]
    fn files_that_are_not_one_sector_are_refused() {
        for (attribute, cluster, length) in [(0, 8, 0), (0, 8, 513), (0x10, 8, 1), (0, 0, 1), (0, 1, 1)] {
            let mut sectors = volume(false);
            sectors[284][..32].copy_from_slice(&entry(*b"SLOT    ENV", attribute, cluster, length));
            assert!(matches!(find(&sectors, u64::MAX, "slot.env"), Err(FatError::Length(_))));
        }
        assert!(matches!(locate("a", |_| Ok::<_, ()>([0; SECTOR])), Err(FatError::Foreign(_))));
        assert!(matches!(locate("a", |_| Err(())), Err(FatError::Read(()))));
    }

    proptest! {
        #[test]
        fn hostile_volumes_do_not_panic(
            boot in prop::collection::vec(any::<u8>(), 62), noise in prop::collection::vec(any::<u8>(), SECTOR), fat32 in any::<bool>(),
        ) {
            let mut sectors = volume(fat32);
            let keep = sectors[0];
            sectors[0][..62].copy_from_slice(&boot);
            if boot[0] & 3 != 0 {
                sectors[0][11..13].copy_from_slice(&keep[11..13]);
                sectors[0][14..17].copy_from_slice(&keep[14..17]);
            }
            let noise: Sector = noise.try_into().expect("as long as asked for");
            let _ = locate("slot.env", |at| Ok::<_, ()>(if at == 0 { sectors[0] } else { noise }));
        }

        #[test]
        fn a_place_is_always_inside_the_volume(cluster in any::<u16>(), high in any::<u16>(), length in any::<u32>()) {
            let mut sectors = volume(true);
            let mut entry = entry(*b"SLOT    ENV", 0, cluster, length);
            entry[20..22].copy_from_slice(&high.to_le_bytes());
            sectors[300][..32].copy_from_slice(&entry);
            if let Ok(place) = find(&sectors, 604, "slot.env") {
                prop_assert!((604..70_000).contains(&place.sector) && (1..=512).contains(&place.length));
            }
        }
    }
}
