"""Tables, columns and rows of SQLAlchemy and Django. Neither is imported: a model is known by what it has.

A model here is a class of Django or SQLAlchemy, a Table of SQLAlchemy, or a name: "table" or "schema.table", in the case
in which PostgreSQL has it and without quotes.
"""

from __future__ import annotations

import datetime
import decimal
import uuid
from typing import Any

Model = Any


def table_of(model: Model) -> tuple[str | None, str]:
    """The schema and name of a model's table. The schema is None if PostgreSQL's search path gives it."""
    if hasattr(model, '_meta'):
        model = model._meta.db_table
    if isinstance(model, str):
        schema, _, name = model.rpartition('.')
        return schema or None, name
    table = getattr(model, '__table__', model)
    return table.schema, table.name


def channel_of(model: Model) -> str:
    """The channel that notify_watch gives a model's table by default."""
    schema, name = table_of(model)
    return name if schema in (None, 'public') else f'{schema}.{name}'


def column_of(model: Model, name: str) -> str:
    """The column of an attribute. A name that is no attribute is one of a column, which PostgreSQL checks."""
    if hasattr(model, '_meta'):
        fields = {field.name: field.column for field in model._meta.concrete_fields}
        return fields.get(name, name)
    if hasattr(model, '__mapper__'):
        columns = model.__mapper__.columns
        return columns[name].name if name in columns else name
    return name


def row_of(model: Model, row: dict[str, Any] | None) -> Any:
    """The row of an event as an instance of the model, or as it is if the model is a name or a Table.

    Columns that the event lacks are deferred (Django) or not set (SQLAlchemy).
    """
    if row is None:
        return None
    if hasattr(model, '_meta'):
        fields = [field for field in model._meta.concrete_fields if field.column in row]
        values = [_django_value(field, row[field.column]) for field in fields]
        return model.from_db(None, [field.attname for field in fields], values)
    if hasattr(model, '__mapper__'):
        columns = model.__mapper__.columns.items()
        return model(**{name: _value(column.type, row[column.name]) for name, column in columns if column.name in row})
    return row


def _django_value(field: Any, value: Any) -> Any:
    # BinaryField reads base 64, and events have PostgreSQL's text.
    if field.get_internal_type() == 'BinaryField':
        return value and bytes.fromhex(value[2:])
    return field.to_python(value)


_readers = {
    datetime.date: datetime.date.fromisoformat,
    datetime.datetime: datetime.datetime.fromisoformat,
    datetime.time: datetime.time.fromisoformat,
    float: float,
    decimal.Decimal: lambda value: decimal.Decimal(str(value)),
    uuid.UUID: uuid.UUID,
    bytes: lambda value: bytes.fromhex(value[2:]),
}


def _value(kind: Any, value: Any) -> Any:
    # A value that Python does not have, such as the date "infinity", remains a text.
    try:
        reader = _readers.get(kind.python_type)
        return reader(value) if reader and value is not None else value
    except (NotImplementedError, ValueError):
        return value
