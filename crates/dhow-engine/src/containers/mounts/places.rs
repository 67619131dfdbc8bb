//! What is at its place in every container of Docker's, whether its image has it or not: mount points, the mark that
//! it is a container, and the list of mounts where programs look for it.

use dhow_image::Place;

pub const PLACES: [(&str, Place); 10] = [
    ("/dev/pts", Place::Directory),
    ("/dev/shm", Place::Directory),
    ("/dev/console", Place::File),
    ("/proc", Place::Directory),
    ("/sys", Place::Directory),
    ("/.dockerenv", Place::File),
    ("/etc/hosts", Place::File),
    ("/etc/hostname", Place::File),
    ("/etc/resolv.conf", Place::File),
    ("/etc/mtab", Place::Link("/proc/mounts")),
];
