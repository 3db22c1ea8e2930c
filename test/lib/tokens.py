#!/usr/bin/python3
"""Makes tokens with PyJWT: tokens.py DIR < REQUESTS

Each line of REQUESTS is a JSON object: alg, claims, and optionally kid and header. The output has a token a line. A key of each kind
is made in DIR at the first call, with the JWKS DIR/keys.json and the secret DIR/secret.
"""
import base64
import json
import os
import sys

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import RSAAlgorithm

directory = sys.argv[1]
KINDS = {'RS': 'rsa', 'ES256': 'p256', 'ES384': 'p384', 'EdDSA': 'ed25519', 'HS': 'secret'}


def path(name):
    return os.path.join(directory, name)


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b'=').decode()


def ec_jwk(key, curve, size):
    numbers = key.public_key().public_numbers()
    return {'kty': 'EC', 'crv': curve, 'x': encode(numbers.x.to_bytes(size, 'big')), 'y': encode(numbers.y.to_bytes(size, 'big'))}


def make_keys():
    keys = {
        'rsa': rsa.generate_private_key(65537, 2048),
        'p256': ec.generate_private_key(ec.SECP256R1()),
        'p384': ec.generate_private_key(ec.SECP384R1()),
        'ed25519': ed25519.Ed25519PrivateKey.generate(),
    }
    raw = keys['ed25519'].public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    rsa_jwk = json.loads(RSAAlgorithm.to_jwk(keys['rsa'].public_key()))
    jwks = [
        {'kty': 'RSA', 'kid': 'rsa', 'n': rsa_jwk['n'], 'e': rsa_jwk['e']},
        {**ec_jwk(keys['p256'], 'P-256', 32), 'kid': 'p256'},
        {**ec_jwk(keys['p384'], 'P-384', 48), 'kid': 'p384'},
        {'kty': 'OKP', 'crv': 'Ed25519', 'kid': 'ed25519', 'x': encode(raw)},
    ]
    for name, key in keys.items():
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        with open(path(name), 'wb') as file:
            file.write(pem)
    with open(path('secret'), 'w') as file:
        file.write(encode(os.urandom(64)))
    with open(path('keys.json'), 'w') as file:
        json.dump({'keys': jwks}, file)


def key_of(algorithm):
    with open(path(KINDS.get(algorithm) or KINDS[algorithm[:2]]), 'rb') as file:
        return file.read()


if not os.path.exists(path('keys.json')):
    make_keys()
for line in sys.stdin:
    request = json.loads(line)
    header = dict(request.get('header', {}))
    if 'kid' in request:
        header['kid'] = request['kid']
    print(jwt.encode(request['claims'], key_of(request['alg']), algorithm=request['alg'], headers=header))
