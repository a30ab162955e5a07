"""What was handled, against a model that forgets by looking at everything."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rivya_async.receiver.handler_pool import DedupCache

steps = st.lists(st.tuples(st.floats(0, 20), st.sampled_from(["a", "b", "c", "d", "e"])), max_size=40)


@given(steps=steps, window=st.floats(0, 30), most=st.integers(1, 4))
def test_keeps_the_latest_ids_within_the_window(steps: list[tuple[float, str]], window: float, most: int) -> None:
    seen, now = DedupCache(window, most), 0.0
    model: list[tuple[float, str]] = []
    for passed, event_id in steps:
        now += passed
        latest = [name for at, name in model if now - at <= window]
        for name in "abcde":
            assert seen.contains(name, now) is (name in latest)
        seen.add(event_id, now)
        model = [*((at, name) for at, name in model if name != event_id), (now, event_id)][-most:]
        assert len(seen) <= most


def test_cache_size_is_limited() -> None:
    seen = DedupCache(1e9)
    for number in range(100_010):
        seen.add(f"evt_{number}", 0.0)
    assert len(seen) == 100_000
    assert not seen.contains("evt_9", 0.0)
    assert seen.contains("evt_10", 0.0)


def test_drops_expired_ids() -> None:
    seen = DedupCache(10.0)
    for number in range(100):
        seen.add(f"evt_{number}", float(number))
    assert len(seen) == 11
