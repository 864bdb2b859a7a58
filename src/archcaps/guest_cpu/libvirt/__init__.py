"""libvirt: domain XML read, expanded as libvirt hands it to QEMU, and changed in place."""
