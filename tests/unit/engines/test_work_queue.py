"""The queue of work: what goes to which node."""

from voxrank.engines.ray.work_queue import WorkQueue


def queue_of(count):
    queue = WorkQueue()
    for number in range(count):
        queue.append(number)
    return queue


def test_work_is_taken_in_order_and_put_back_in_order():
    queue = queue_of(6)
    assert queue.take("a", lambda usable: usable // 2) == (0, 1, 2)
    assert queue.take("a", lambda usable: 1) == (3,)
    queue.put_back([1, 3])
    assert queue.waiting == [1, 3, 4, 5]
    assert queue.must_see([1, 3])


def test_work_on_which_a_worker_was_lost_is_taken_alone():
    queue = queue_of(5)
    queue.losses[2] += 1
    assert queue.take("a", lambda usable: usable) == (0, 1)
    assert queue.take("a", lambda usable: usable) == (2,)
    assert queue.take("a", lambda usable: usable) == (3, 4)


def test_work_goes_to_nodes_that_see_its_audio():
    queue = queue_of(4)
    queue.leave("blind", queue.take("blind", lambda usable: 2), everything=False)
    assert queue.is_blind("blind")
    assert not queue.is_blind("other")
    assert queue.take("blind", lambda usable: usable) == (2, 3)
    assert queue.take("blind", lambda usable: usable) == ()
    assert queue.take("other", lambda usable: usable) == (0, 1)


def test_a_node_that_sees_nothing_receives_nothing_that_waits():
    queue = queue_of(4)
    queue.leave("blind", queue.take("blind", lambda usable: 1), everything=True)
    assert queue.take("blind", lambda usable: usable) == ()
    assert queue.take("other", lambda usable: usable) == (0, 1, 2, 3)


def test_work_that_no_node_sees_is_done_all_the_same_and_alone():
    queue = queue_of(3)
    queue.leave("a", queue.take("a", lambda usable: usable), everything=True)
    queue.give_up([1])
    assert queue.take("a", lambda usable: usable) == (1,)
    assert not queue.must_see([1])
    assert queue.waiting == [0, 2]
