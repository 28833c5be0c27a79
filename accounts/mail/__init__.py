"""Letters to people: written when something happens, sent by the background process, tried again.

`letters` says what there is and puts it into the queue; `tasks` is what the queue runs; `proofs` are
the links in them; `private_files` is where mail goes while no server for it is configured.
"""
