"""Socket.IO protocol of the hub: packets and namespaces."""
