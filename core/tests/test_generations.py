import multiprocessing

from core.generations import CHANGES, RIGHTS, Generations, user_slot


def _bump(path, times):
    generations = Generations(path)
    for _ in range(times):
        generations.bump(user_slot("somebody"))


def test_bumps_of_several_processes_all_count_and_are_seen_at_once(tmp_path):
    path = tmp_path / "g"
    mine = Generations(path)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_bump, args=(path, 50)) for _ in range(4)]

    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)

    assert mine.read(user_slot("somebody")) == 200
    assert mine.read(CHANGES) == 200
    assert mine.read(RIGHTS) == 0
