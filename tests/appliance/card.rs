//! A card as a loop device over a file, made by the tools that make real ones. Its owner's partition is ext2 here: not every
//! kernel that runs these tests has FAT.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use genkan::appliance::core::card::SIGNATURE;
use genkan::appliance::partitions::Card;
use nix::mount::{MsFlags, mount, umount};
use nix::sched::CloneFlags;
use tempfile::TempDir;

pub const MIB: u64 = 1 << 20;
/// Start and length of the four partitions, in MiB; the last is what the image has before it grows.
const LAYOUT: [(u64, u64); 4] = [(4, 16), (20, 4), (24, 4), (28, 64)];

/// A card in its reader.
pub struct LoopCard {
    folder: TempDir,
    pub device: PathBuf,
}

/// Whether the last partition is there yet.
#[derive(Clone, Copy, PartialEq)]
pub enum Data {
    Pristine,
    Missing,
}

pub fn run(program: &str, arguments: &[&str]) -> String {
    let output =
        Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs `what` on a thread with mounts of its own.
pub fn with_own_mounts(what: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(|| {
        nix::sched::unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).expect("root");
        let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).expect("root");
        what();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

impl LoopCard {
    /// A card of `size` MiB, with `owner` (path and text) in the folder `genkan` of its first partition.
    pub fn new(size: u64, data: Data, owner: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let image = folder.path().join("card.img");
        let file = File::create(&image).expect("a file");
        file.set_len(size * MIB).expect("room");
        file.write_all_at(&table(data), 0).expect("room");
        make_owner(folder.path(), &image, owner);
        let pristine = make_pristine(folder.path());
        if data == Data::Pristine {
            let bytes = fs::read(&pristine).expect("it was made");
            file.write_all_at(&bytes, LAYOUT[3].0 * MIB).expect("room");
        }
        let path = image.to_str().expect("a plain path");
        let device = run("losetup", &["--find", "--show", "--partscan", path]);
        let card = Self { folder, device: device.trim().into() };
        // Not every kernel reads partition tables: this tells it.
        card.open();
        card
    }

    pub fn open(&self) -> Card {
        Card::open(&self.device).expect("a card")
    }

    pub fn partition(&self, number: usize) -> PathBuf {
        self.open().partition(number)
    }

    /// The empty file system, compressed as the box carries it.
    pub fn pristine(&self) -> PathBuf {
        self.folder.path().join("data.ext4.zst")
    }

    /// A new empty folder.
    pub fn place(&self, name: &str) -> PathBuf {
        let place = self.folder.path().join(name);
        fs::create_dir_all(&place).expect("a folder");
        place
    }

    /// Looks into partition `number`, or changes it.
    pub fn inside<T>(&self, number: usize, act: impl FnOnce(&Path) -> T) -> T {
        let place = self.place("inside");
        let kind = if number == 4 { "ext4" } else { "ext2" };
        let device = self.partition(number);
        mount(Some(&device), &place, Some(kind), MsFlags::empty(), None::<&str>).expect("it mounts");
        let result = act(&place);
        umount(&place).expect("nobody is inside");
        result
    }

    /// Overwrites `length` bytes from the start of the data partition with bytes that mean nothing.
    pub fn ruin(&self, length: u64) {
        let file = fs::OpenOptions::new().write(true).open(self.partition(4)).expect("it is there");
        let noise = vec![0xa5; usize::try_from(length).expect("a small card")];
        file.write_all_at(&noise, 0).expect("room");
        file.sync_all().expect("written");
    }

    /// The whole card, as it lies there.
    pub fn bytes(&self) -> Vec<u8> {
        run("blockdev", &["--flushbufs", self.device.to_str().expect("a plain path")]);
        fs::read(self.folder.path().join("card.img")).expect("readable")
    }
}

impl Drop for LoopCard {
    fn drop(&mut self) {
        Command::new("losetup").arg("--detach").arg(&self.device).status().ok();
    }
}

fn table(data: Data) -> [u8; 512] {
    let mut bytes = [0; 512];
    bytes[440..444].copy_from_slice(&SIGNATURE.to_le_bytes());
    bytes[510..].copy_from_slice(&[0x55, 0xaa]);
    let count = if data == Data::Missing { 3 } else { 4 };
    for (number, (start, length)) in LAYOUT.into_iter().take(count).enumerate() {
        let sectors =
            |mebibytes: u64| u32::try_from(mebibytes * MIB / 512).expect("a small card").to_le_bytes();
        let entry = &mut bytes[446 + 16 * number..][..16];
        entry[4] = if number == 3 { 0x83 } else { 0x0c };
        entry[8..12].copy_from_slice(&sectors(start));
        entry[12..].copy_from_slice(&sectors(length));
    }
    bytes
}

fn make_owner(folder: &Path, image: &Path, files: &[(&str, &str)]) {
    let owner = folder.join("owner");
    fs::create_dir_all(owner.join("genkan")).expect("a folder");
    for (name, text) in files {
        fs::write(owner.join("genkan").join(name), text).expect("a file");
    }
    let (start, length) = LAYOUT[0];
    let offset = format!("offset={}", start * MIB);
    let (owner, image) = (owner.to_str().expect("plain"), image.to_str().expect("plain"));
    run("mke2fs", &["-q", "-F", "-t", "ext2", "-d", owner, "-E", &offset, image, &format!("{length}M")]);
}

/// With the features and sizes that the image's builder uses.
fn make_pristine(folder: &Path) -> PathBuf {
    let image = folder.join("data.ext4");
    let path = image.to_str().expect("a plain path");
    let features = "has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,metadata_csum,metadata_csum_seed,sparse_super,large_file,huge_file,dir_nlink,extra_isize";
    let arguments = ["-q", "-F", "-t", "ext4", "-b", "4096", "-m", "1", "-L", "genkan-data", "-J", "size=4"];
    let size = format!("{}M", LAYOUT[3].1);
    let more = ["-O", features, "-E", "resize=8388608,lazy_itable_init=0", path, &size];
    run("mke2fs", &[&arguments[..], &more[..]].concat());
    run("zstd", &["-q", "-f", path]);
    image
}
