"""Proxmox VE's configurations: a VM's file, and the custom CPU models of cpu-models.conf."""
