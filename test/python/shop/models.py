from django.contrib.postgres.fields import ArrayField
from django.db import models


class Author(models.Model):
    name = models.CharField(max_length=80)
    born = models.DateField(null=True)
    seen = models.DateTimeField(null=True)
    fee = models.DecimalField(max_digits=8, decimal_places=2, null=True)
    tags = ArrayField(models.TextField(), default=list)
    photo = models.BinaryField(null=True)


class Post(models.Model):
    author = models.ForeignKey(Author, on_delete=models.CASCADE, db_column='written_by')
    content = models.TextField()


class Seen(models.Model):
    what = models.TextField()
