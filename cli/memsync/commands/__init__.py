"""One file for each verb; `memsync.app` imports the one that is asked for."""
