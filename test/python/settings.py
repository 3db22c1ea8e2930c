"""Django with one app, `shop`, in the database of PGHOST, PGPORT."""

import os

SECRET_KEY = 'tests'
INSTALLED_APPS = ['pg_notifyd.django', 'shop']
DATABASES = {
    'default': {
        'ENGINE': 'django.db.backends.postgresql',
        'NAME': 'postgres',
        'USER': 'postgres',
        'HOST': os.environ['PGHOST'],
        'PORT': os.environ['PGPORT'],
    }
}
DEFAULT_AUTO_FIELD = 'django.db.models.BigAutoField'
USE_TZ = True
PG_NOTIFYD = {'url': os.environ['URL'], 'token': 'shop.listeners.token'}
