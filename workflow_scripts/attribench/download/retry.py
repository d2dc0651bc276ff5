"""Another attempt, a bounded number of times, after waits that grow."""

import logging
from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type

from attribench.download.table import DownloadSettings
from attribench.errors import InputError

T = TypeVar("T")
LONGEST_WAIT = 300.0  # seconds, whatever a server asks for


class Transient(Exception):
    """What another attempt may mend; `wait`: seconds that the server asks us to wait first."""

    def __init__(self, reason: str, wait: float = 0):
        super().__init__(reason)
        self.wait = wait


def with_retries(
    url: str, settings: DownloadSettings, work: Callable[[], T], has_gained: Callable[[], bool] = lambda: False
) -> T:
    """The result of `work`, which is called again when it raises Transient.

    It is given up after `settings.retries` further attempts in a row that brought nothing (`has_gained` says whether the
    last one did): InputError with `url` and the last reason. A server that cuts each connection early but serves the rest
    on request is therefore no reason to give up.
    """
    fruitless = 0

    def stop(state: RetryCallState) -> bool:
        nonlocal fruitless
        fruitless = 1 if has_gained() else fruitless + 1
        return fruitless > settings.retries

    def wait(state: RetryCallState) -> float:
        grown = settings.backoff * 2 ** min(fruitless - 1, 16)
        return min(LONGEST_WAIT, max(state.outcome.exception().wait, grown))

    def note(state: RetryCallState) -> None:
        logging.warning("%s: %s; again in %.1f s", url, state.outcome.exception(), state.next_action.sleep)

    attempts = Retrying(retry=retry_if_exception_type(Transient), stop=stop, wait=wait, before_sleep=note, reraise=True)
    try:
        return attempts(work)
    except Transient as error:
        raise InputError(f"{url}: {error}; given up after {attempts.statistics['attempt_number']} attempts") from error
