"""Who runs trials: processes of this machine, of a cluster, and of the service."""
