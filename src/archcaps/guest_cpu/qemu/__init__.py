"""QEMU: its command line, its -cpu option, its answers over QMP, and the CPU that a guest gets of them."""
