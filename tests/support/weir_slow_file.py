# SPDX-License-Identifier: MIT
"""A file that cannot be read to its end: who reads it on a thread of a pool keeps that busy."""

import os
import select

from weir_process import eventually


class SlowFile:
    """Not before let_go(): a FIFO."""

    def __init__(self, path):
        self.path = path
        os.mkfifo(path)

    def hold(self):
        """As soon as somebody reads: a descriptor that keeps him."""
        found = []

        def is_read():
            try:
                found.append(os.open(self.path, os.O_WRONLY | os.O_NONBLOCK))
            except OSError:
                return False
            return True

        assert eventually(is_read)
        return found[0]

    def let_go(self, *connections):
        """Ends whatever reads it until all connections have an answer."""

        def has_answers():
            try:
                os.close(os.open(self.path, os.O_WRONLY | os.O_NONBLOCK))
            except OSError:
                pass  # nobody reads it now
            return all(select.select([c.socket], [], [], 0)[0] for c in connections)

        assert eventually(has_answers)
