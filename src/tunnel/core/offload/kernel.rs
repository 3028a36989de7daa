//! How many datagrams may leave by one system call, on the kernel that runs.

/// Fewer are sent one by one where a tail is needed: it would cost as much as it saves.
const WORTH_A_TAIL: usize = 4;

/// What this kernel does with `UDP_SEGMENT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segmentation {
    Works,
    /// Linux 7.0 to 7.1.4 spoils the headers of a batch whose segments all have one length (introduced by b10b446, mended by
    /// 78effd8 and 5f17ae0); a datagram of one byte behind them, which no receiver takes for WireGuard, keeps them whole.
    NeedsTail,
    /// It said so.
    Refused,
}

/// How one run of datagrams is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    Together {
        /// With one more datagram of one byte.
        tail: bool,
    },
    Apart,
}

impl Segmentation {
    /// `release` as in `uname -r`: `6.12.62+rpt-rpi-v8`.
    #[must_use]
    pub fn of_kernel(release: &str) -> Self {
        let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map(str::parse::<u32>);
        let mut number = || numbers.next().and_then(Result::ok).unwrap_or(0);
        let version = (number(), number(), number());
        if ((7, 0, 0)..(7, 1, 5)).contains(&version) { Self::NeedsTail } else { Self::Works }
    }

    /// For `length` bytes that are cut every `segment_size`.
    #[must_use]
    pub fn plan(self, length: usize, segment_size: usize) -> Plan {
        let is_one = length <= segment_size;
        match self {
            _ if is_one => Plan::Together { tail: false },
            Self::Works => Plan::Together { tail: false },
            Self::Refused => Plan::Apart,
            Self::NeedsTail if !length.is_multiple_of(segment_size) => Plan::Together { tail: false },
            Self::NeedsTail if length / segment_size < WORTH_A_TAIL => Plan::Apart,
            Self::NeedsTail => Plan::Together { tail: true },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_with_the_bug_are_known() {
        for release in ["7.0.0", "7.0-rc3", "7.1.4-arch1-1", "7.0.12+deb14-arm64"] {
            assert_eq!(Segmentation::of_kernel(release), Segmentation::NeedsTail, "{release}");
        }
        for release in ["6.18.44", "7.1.5", "7.2.0", "6.12.62+rpt-rpi-v8", "", "nonsense"] {
            assert_eq!(Segmentation::of_kernel(release), Segmentation::Works, "{release}");
        }
    }

    #[test]
    fn only_equal_segments_need_a_tail() {
        let together = |tail| Plan::Together { tail };
        assert_eq!(Segmentation::NeedsTail.plan(1000, 100), together(true));
        assert_eq!(Segmentation::NeedsTail.plan(950, 100), together(false));
        assert_eq!(Segmentation::NeedsTail.plan(300, 100), Plan::Apart);
        assert_eq!(Segmentation::NeedsTail.plan(100, 100), together(false));
        assert_eq!(Segmentation::Works.plan(1000, 100), together(false));
        assert_eq!(Segmentation::Refused.plan(1000, 100), Plan::Apart);
    }
}
