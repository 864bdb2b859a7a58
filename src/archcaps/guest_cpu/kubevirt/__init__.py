"""KubeVirt: VirtualMachine and VirtualMachineInstance manifests read and changed in place."""
