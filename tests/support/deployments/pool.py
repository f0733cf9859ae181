"""Forks a pool of processes next to a subscription; says what each side gets."""

from __future__ import annotations

import multiprocessing
import os
import threading

import django

django.setup()

from django_esdb import get_application  # noqa: E402
from example_project.training_school.application import TrainingSchool  # noqa: E402

DOGS = [f"dog {number}" for number in range(12)]


def register(name: str) -> int:
    return get_application(TrainingSchool).register(name)


def main() -> None:
    school = get_application(TrainingSchool)
    register("first")
    received: list[int] = []
    subscription = school.recorder.subscribe()

    def receive() -> None:
        for notification in subscription:
            received.append(notification.id)
            if len(received) == len(DOGS) + 2:
                break

    receiver = threading.Thread(target=receive)
    receiver.start()
    # Each child is replaced after two tasks, so there are forks at any moment.
    with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=2) as pool:
        saved = pool.map(register, DOGS, chunksize=1)
        pool.close()
        pool.join()
    last = register("last")
    receiver.join(60)
    subscription.stop()
    is_exact = received == sorted({*received, *saved, last})
    os.write(1, f"exact: {is_exact} {len(received)}\n".encode())


if __name__ == "__main__":
    main()
