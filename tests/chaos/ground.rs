//! What the nodes stand on: a host and a small disk for each where the machine allows, otherwise this
//! machine as it is.
//!
//! Runs in namespaces of its own (see `machine`): nothing here is undone, since all of it is gone with
//! the last process, however that ends.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use crate::harness::Seat;
use crate::network::Network;

pub const SEATS: usize = 3;

#[derive(Debug)]
pub struct Ground {
    pub seats: Vec<Seat>,
    pub network: Option<Network>,
    /// Where the disk of each seat is mounted.
    pub disks: Vec<PathBuf>,
}

impl Ground {
    /// Prepares it in a folder.
    pub fn prepare(folder: &Path, network: bool, disks: bool, disk_megabytes: u64) -> Self {
        let mut seats = vec![Seat::here(folder); SEATS];
        let network = network.then(Network::lay);
        if network.is_some() {
            for (at, seat) in seats.iter_mut().enumerate() {
                seat.host = Some(Network::host(at));
                seat.way = Network::way(at);
            }
        }
        let mut mounts = Vec::new();
        if disks {
            for (at, seat) in seats.iter_mut().enumerate() {
                let mount = small_disk(folder, at, disk_megabytes);
                seat.disk = Some(mount.clone());
                mounts.push(mount);
            }
        }
        Self { seats, network, disks: mounts }
    }

    /// Takes what is free on the disk of a seat, to the last block. Called again it takes what the
    /// node has freed meanwhile.
    pub fn fill(&self, at: usize) {
        let disk = self.disks[at].display();
        run(&format!(
            "for size in 1G 64M 4M 256K 16K 4K; do
                 for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do
                     file=$(mktemp {disk}/ballast-XXXXXXXX) || break
                     fallocate -l $size $file 2>/dev/null || break
                 done
             done"
        ));
    }

    /// Makes space again.
    pub fn empty(&self, at: usize) {
        run(&format!("rm -f {}/ballast-*", self.disks[at].display()));
    }
}

fn small_disk(folder: &Path, at: usize, megabytes: u64) -> PathBuf {
    let (image, mount) = (folder.join(format!("disk{at}.ext4")), folder.join(format!("disk{at}")));
    fs::create_dir_all(&mount).expect("a folder");
    run(&format!(
        "truncate -s {megabytes}M {image} && mkfs.ext4 -q -m 0 -F {image} && mount -o loop {image} {mount}",
        image = image.display(),
        mount = mount.display(),
    ));
    mount
}

/// Runs lines of a shell that must not fail.
pub fn run(lines: &str) -> String {
    let output = Command::new("sh").args(["-ec", lines]).output().expect("run a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{lines}: {}: {said}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
