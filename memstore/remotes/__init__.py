"""Where a store's packs and its readable mirror go: a folder, Google Drive.

Glossary. *Store's half*: the immutable files in the remote's hidden `.memsync/`. *Mirror*: the files of
`Data/` under their own names, for people to read. `base` holds what a remote promises, `open` turns a URL
into one, `retry` and `limiter` are the patience between the two.
"""
