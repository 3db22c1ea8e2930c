// bundle.mjs MODULES EXAMPLE LIBRARY OUT: an example as a script for browsers, with what it imports. Needs esbuild.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const [, , modules, example, library, out] = process.argv;
const require = createRequire(join(modules, 'package.json'));
const source = readFileSync(example, 'utf8');
const folder = dirname(out);
let entry = join(folder, 'entry.jsx');

if (example.endsWith('.vue'))
{
	const { compileScript, parse } = require('vue/compiler-sfc');
	const { descriptor } = parse(source);
	writeFileSync(join(folder, 'component.js'), compileScript(descriptor, { id: 'example', inlineTemplate: true }).content);
	writeFileSync(entry, `import { createApp } from 'vue'; import it from './component.js'; createApp(it).mount('#app');`);
}
else if (example.endsWith('.svelte'))
{
	const { compile } = await import(join(modules, 'svelte/src/compiler/index.js'));
	writeFileSync(join(folder, 'component.js'), compile(source, { generate: 'client' }).js.code);
	writeFileSync(entry, `import { mount } from 'svelte'; import it from './component.js'; mount(it, { target: document.querySelector('#app') });`);
}
else
	writeFileSync(entry, source);
execFileSync('esbuild', [entry, '--bundle', '--format=esm', '--target=esnext', '--jsx=automatic', '--log-level=error', '--conditions=browser',
	'--define:process.env.NODE_ENV="production"', `--alias:pg_notifyd=${library}`, `--outfile=${out}`],
	{ env: { ...process.env, NODE_PATH: modules }, stdio: 'inherit' });
