# SPDX-License-Identifier: MIT
"""Targets die and return under load, one after the other: no idempotent request fails (F143)."""

import contextlib
import threading

from weir_raw import BadAnswer
from weir_site import get, server
from weir_upstream import Place, Upstream, always, answer


class Load:
    """Clients that ask without end; `lost` is what they were not answered as they should be."""

    def __init__(self, raw, running, count):
        self.raw, self.running, self.lost, self.over = raw, running, [], threading.Event()
        self.answers, self.news = 0, threading.Condition()
        self.threads = [threading.Thread(target=self._ask) for _ in range(count)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def _ask(self):
        try:
            with self.raw(self.running) as client:
                while not self.over.is_set():
                    got = client.send(get()).read()
                    with self.news:
                        self.answers += 1
                        self.news.notify_all()
                    if (got.status, got.body) != (200, b"hello"):
                        self.lost.append(got.status)
        except (OSError, BadAnswer) as error:
            self.lost.append(repr(error))

    def go_on(self, answers):
        with self.news:
            until = self.answers + answers
            return self.news.wait_for(lambda: self.answers >= until or self.lost, 60) and not self.lost


def test_targets_die_and_return(weir, raw):
    with contextlib.ExitStack() as stack:
        places = [stack.enter_context(Place()) for _ in range(3)]
        apps = [Upstream(always(answer()), place=place) for place in places]
        site = {"modules": ["proxy"],
                "upstreams": {"app": {"targets": [place.address for place in places],
                                      "eject": {"for": "50ms", "for_max": "50ms"},
                                      "retry": {"times": 5, "budget": False}}},
                "servers": [server({"handle": {"proxy": "app"}})]}
        try:
            with Load(raw, weir(site), 6) as load:
                for i in [0, 1, 2] * 3:
                    assert load.go_on(40)
                    apps[i].stop()
                    assert load.go_on(40)
                    apps[i] = Upstream(always(answer()), place=places[i])
                    assert apps[i].wait(lambda: apps[i].requests)
            assert load.lost == []
        finally:
            for app in apps:
                app.stop()
        assert [app.faults for app in apps] == [[]] * 3
