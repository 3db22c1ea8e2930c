"""Functions that are registered where no notifier exists yet, such as in an application's module listeners.py.

    @post_update_listener(Author)
    def author_changed(old: Author, new: Author): ...

Notifier.add_listeners() subscribes them.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, Callable, TypeVar

from .events import ChangeEvent, Operation
from .models import Model, channel_of, row_of

Function = TypeVar('Function', bound=Callable[..., Any])


@dataclass(frozen=True)
class Listener:
    """A registered function, and what it is called for. `options` are those of Notifier.subscribe()."""

    model: Model
    operation: Operation
    function: Callable[..., Any]
    options: dict[str, Any]

    @property
    def channel(self) -> str:
        return self.options.get('channel_label') or channel_of(self.model)

    def arguments(self, event: ChangeEvent) -> dict[str, Any]:
        """What the function gets: `old` and `new` as instances of the model, `event` and `context`, if it has the parameter."""
        values = {
            'old': lambda: row_of(self.model, event.old),
            'new': lambda: row_of(self.model, event.new),
            'event': lambda: event,
            'context': lambda: event.context,
        }
        wanted = inspect.signature(self.function).parameters
        return {name: value() for name, value in values.items() if name in wanted}


registered: list[Listener] = []


def dispatch(event: ChangeEvent) -> None:
    """Call the registered functions for this event, as a handler of work() does for the events of a group.

    The group has the filter, not they. Raises what they raise, and ValueError for one with a filter, columns or `async`.
    """
    for listener in registered:
        if event.operation != listener.operation or event.channel != listener.channel:
            continue
        if listener.options.keys() - {'channel_label'} or inspect.iscoroutinefunction(listener.function):
            raise ValueError(f'{listener.function.__qualname__} cannot be called for events of a group')
        listener.function(**listener.arguments(event))


def _decorator(operation: Operation) -> Callable[..., Callable[[Function], Function]]:
    def listener(model: Model, **options: Any) -> Callable[[Function], Function]:
        def register(function: Function) -> Function:
            registered.append(Listener(model, operation, function, options))
            return function

        return register

    listener.__name__ = f'post_{operation.value.lower()}_listener'
    listener.__doc__ = f"""Call a function after each committed {operation.value} of a model's table.

    It has some of the parameters `old`, `new`, `event` and `context`. `options` are those of Notifier.subscribe().
    """
    return listener


post_insert_listener = _decorator(Operation.INSERT)
post_update_listener = _decorator(Operation.UPDATE)
post_delete_listener = _decorator(Operation.DELETE)
post_truncate_listener = _decorator(Operation.TRUNCATE)
