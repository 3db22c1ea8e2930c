#!/usr/bin/python3
"""Checks values against schemas of an OpenAPI document: schemas.py < INPUT

INPUT is a JSON object: "document", and "values", a list of [schema, value]. The output has a line for each value that its schema does not
describe.
"""
import json
import sys

import jsonschema

given = json.load(sys.stdin)
resolver = jsonschema.RefResolver('', given['document'])
for schema, value in given['values']:
    for error in jsonschema.Draft202012Validator(schema, resolver=resolver).iter_errors(value):
        print(json.dumps(value), error.message)
