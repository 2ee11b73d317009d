import time


def test_waits_for_something_that_never_comes() -> None:
    time.sleep(3600)
