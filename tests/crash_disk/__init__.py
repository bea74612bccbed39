"""A modelled disk: what a workload does to a real one is recorded, and every state that a power cut may leave
of it is built and opened.

    recorder   what `memstore.files` asks of the system, step by step
    disk       the model: what is durable at a step, what is pending, and the tree that is left of it
    states     which pending steps came through: exhaustively where small, by a seed where not
    world      what a scene is, and the disk that it is played on
    scenes     the workloads; those of gc, repair and forget are in `care`
    check      what must hold of a state that was opened
    faults     a disk that is full, or that fails to read, write or sync
"""
