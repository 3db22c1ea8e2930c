// Makes tokens with jose: node tokens.mjs CLAIMS. Prints a JSON object: the JWKS "keys", and "tokens" by algorithm.
import { exportJWK, generateKeyPair, SignJWT } from 'jose';

const claims = JSON.parse(process.argv[2]);
const keys = [];
const tokens = {};

async function sign(alg, key) {
	tokens[alg] = await new SignJWT(claims).setProtectedHeader({ alg, kid: alg, typ: 'JWT' }).sign(key);
}

for (const alg of ['HS256', 'HS384', 'HS512']) {
	const secret = crypto.getRandomValues(new Uint8Array(64));
	keys.push({ kty: 'oct', kid: alg, alg, k: Buffer.from(secret).toString('base64url') });
	await sign(alg, secret);
}
for (const alg of ['RS256', 'RS384', 'RS512', 'ES256', 'ES384', 'EdDSA']) {
	const { publicKey, privateKey } = await generateKeyPair(alg);
	keys.push({ ...await exportJWK(publicKey), kid: alg, alg, use: 'sig' });
	await sign(alg, privateKey);
}
console.log(JSON.stringify({ keys, tokens }));
