"""The command line of memsync. Only this package prints and picks exit codes; `memstore` does the work."""
