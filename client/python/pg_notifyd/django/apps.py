from django.apps import AppConfig


class NotifydConfig(AppConfig):
    name = 'pg_notifyd.django'
    label = 'pg_notifyd'
