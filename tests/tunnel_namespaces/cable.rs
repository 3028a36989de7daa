//! Two network namespaces and a cable between them.

use std::fs::File;
use std::process::Command;
use std::thread::JoinHandle;

use nix::sched::{CloneFlags, setns};

/// Gone when it is dropped.
pub struct Cable {
    names: [String; 2],
}

impl Cable {
    /// `label` tells the namespaces of one test from those of the others, which run beside it.
    pub fn lay(label: &str) -> Self {
        let names = ["a", "b"].map(|side| format!("genkan-{label}-{side}"));
        let cable = Self { names };
        cable.remove();
        let [a, b] = &cable.names;
        for line in [
            format!("ip netns add {a} && ip netns add {b}"),
            format!("ip -n {a} link add cable type veth peer name cable netns {b}"),
            format!("ip -n {a} addr add 192.168.77.1/24 dev cable && ip -n {a} link set cable up"),
            format!("ip -n {b} addr add 192.168.77.2/24 dev cable && ip -n {b} link set cable up"),
        ] {
            assert!(shell(&line), "{line}");
        }
        cable
    }

    /// Whether `line` succeeds in the namespace of `side`.
    pub fn inside(&self, side: usize, line: &str) -> bool {
        shell(&format!("ip netns exec {} {line} >/dev/null 2>&1", self.names[side]))
    }

    /// A thread in the namespace of `side`: namespaces belong to threads, and to those that they begin.
    pub fn spawn<T: Send + 'static>(
        &self,
        side: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let namespace = File::open(format!("/run/netns/{}", self.names[side])).expect("was laid");
        std::thread::spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("root");
            work()
        })
    }

    /// A counter of the tunnel's interface: what the kernel gave it (`tx`) or took from it (`rx`).
    pub fn counted(&self, side: usize, name: &str) -> u64 {
        let file = format!("/sys/class/net/genkan0/statistics/{name}");
        let output = Command::new("ip").args(["netns", "exec", &self.names[side], "cat", &file]).output();
        let text = String::from_utf8(output.expect("cat").stdout).expect("a number");
        text.trim().parse().expect("a number")
    }

    fn remove(&self) {
        for name in &self.names {
            shell(&format!("ip netns del {name} 2>/dev/null"));
        }
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.remove();
    }
}

fn shell(line: &str) -> bool {
    Command::new("sh").args(["-c", line]).status().expect("a shell").success()
}
