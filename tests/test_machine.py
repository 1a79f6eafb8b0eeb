from eval.machine import machine


def test_the_machine_says_how_many_cores_and_threads_there_are() -> None:
    assert machine()["cores"] >= 1
    assert machine()["faiss_threads"] >= 1
