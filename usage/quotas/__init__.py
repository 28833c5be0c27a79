"""The counters behind quotas: shared by the processes of a machine, or by machines (S-15, S-51, S-52)."""
