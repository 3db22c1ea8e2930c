"""What the listeners get is written into the table Seen, through Django."""

import os

from pg_notifyd import post_delete_listener, post_insert_listener, post_update_listener

from .models import Author, Post, Seen


def token():
    return os.environ['TOKEN']


def note(*what):
    Seen.objects.create(what=repr(what))


@post_insert_listener(Author)
def first_post(old: Author, new: Author):
    assert old is None
    note('insert', new, new.pk, new.name, new.born, new.seen.isoformat(), new.fee, new.tags, bytes(new.photo))
    Post.objects.create(author=new, content='Welcome')


@post_insert_listener(Post)
def posted(new: Post):
    note('post', new.author_id, new.author.name)


@post_update_listener(Author, columns=['id', 'name'])
def renamed(old: Author, new: Author, context):
    note('update', old.name, new.name, new.get_deferred_fields() != set(), new.fee, context)


@post_delete_listener(Post, filters=[{'column': 'author', 'value': 1}])
def deleted(old: Post):
    note('delete', old.content)
