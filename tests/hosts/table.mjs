/**
 * The hosts: what web developers bundle, serve and test with.
 *
 * `app` is a folder of apps/, `softphone` where its shared file goes. A way (`development`, `production`) has commands that end
 * (`build`), then a command that serves (`serve`, given the port) or a folder that a plain server serves (`folder`, with the page
 * at `page`), and `text` where the module comes from the copy in a text, not from its file. A command is a package, a name in its
 * `bin`, and arguments. `more`: not in the short run, which has the newest version of each host that Node.js 20 can run.
 */

const vite = (version, more) => ({
  name: `Vite ${version}`,
  install: `vite-${version}`,
  more,
  app: 'vite',
  ways: {
    development: { serve: (port) => ['vite', 'vite', '--host', '127.0.0.1', '--port', port, '--strictPort'], text: version < 8 },
    production: {
      build: [['vite', 'vite', 'build']],
      serve: (port) => ['vite', 'vite', 'preview', '--host', '127.0.0.1', '--port', port, '--strictPort'],
    },
  },
});

const next = (version, bundler, flag, more) => ({
  name: `Next.js ${version}, ${bundler}`,
  install: `next-${version}`,
  more,
  app: 'next',
  softphone: 'app',
  ways: {
    development: { serve: (port) => ['next', 'next', 'dev', ...flag, '--hostname', '127.0.0.1', '--port', port] },
    production: {
      build: [['next', 'next', 'build', ...flag]],
      serve: (port) => ['next', 'next', 'start', '--hostname', '127.0.0.1', '--port', port],
    },
  },
});

const angular = (version, more) => ({
  name: `Angular ${version}`,
  install: `angular-${version}`,
  more,
  app: 'angular',
  softphone: 'src',
  ways: {
    development: { serve: (port) => ['@angular/cli', 'ng', 'serve', '--host', '127.0.0.1', '--port', port], text: true },
    production: { build: [['@angular/cli', 'ng', 'build']], folder: 'dist/browser', text: true },
  },
});

const ESBUILD = ['main.js', '--bundle', '--outdir=dist', '--log-level=warning'];

const HOSTS = [
  vite(8),
  vite(7, true),
  vite(6, true),
  vite(5, true),
  {
    name: 'SvelteKit 2 (Vite 7)',
    install: 'sveltekit-2',
    app: 'sveltekit',
    softphone: 'src',
    ways: {
      development: { serve: (port) => ['vite', 'vite', 'dev', '--host', '127.0.0.1', '--port', port, '--strictPort'], text: true },
      production: { build: [['vite', 'vite', 'build']], folder: 'build' },
    },
  },
  {
    name: 'Nuxt 4.4 (Vite 7)',
    install: 'nuxt-4',
    app: 'nuxt',
    softphone: 'app',
    ways: {
      development: { serve: (port) => ['nuxt', 'nuxt', 'dev', '--host', '127.0.0.1', '--port', port, '--no-fork'], text: true },
      production: { build: [['nuxt', 'nuxt', 'build']], serve: () => ['.output/server/index.mjs'] },
    },
  },
  next(16, 'Turbopack', []),
  next(16, 'webpack', ['--webpack'], true),
  next(15, 'Turbopack', ['--turbopack'], true),
  next(15, 'webpack', [], true),
  angular(21),
  angular(20, true),
  {
    name: 'webpack 5',
    install: 'webpack-5',
    app: 'webpack',
    softphone: 'src',
    ways: {
      development: {
        serve: (port) => ['webpack-cli', 'webpack-cli', 'serve', '--mode', 'development', '--host', '127.0.0.1', '--port', port],
      },
      production: { build: [['webpack-cli', 'webpack-cli', '--mode', 'production', '--output-path', 'public']], folder: 'public' },
    },
  },
  {
    name: 'Parcel 2',
    install: 'parcel-2',
    app: 'parcel',
    ways: {
      development: { serve: (port) => ['parcel', 'parcel', 'serve', 'index.html', '--host', '127.0.0.1', '--port', port] },
      production: { build: [['parcel', 'parcel', 'build', 'index.html']], folder: 'dist' },
    },
  },
  {
    name: 'Rollup 4 with node-resolve',
    install: 'rollup-4',
    app: 'rollup',
    ways: {
      development: { build: [['rollup', 'rollup', '--config']], folder: '.', page: 'index.html', text: true },
    },
  },
  {
    name: 'esbuild',
    install: 'esbuild',
    app: 'esbuild',
    ways: {
      modules: { build: [['esbuild', 'esbuild', ...ESBUILD, '--format=esm', '--splitting']], folder: '.', page: 'esm.html', text: true },
      'one script': { build: [['esbuild', 'esbuild', ...ESBUILD, '--minify']], folder: '.', page: 'iife.html', text: true },
      // That of docs/security.md, but for the address of the module: the copy in a text needs no leave to be fetched.
      'one script under a strict policy': {
        build: [['esbuild', 'esbuild', ...ESBUILD, '--minify']],
        folder: '.',
        page: 'iife.html',
        text: true,
        policy: (server) =>
          `default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src ${server}; ` +
          `require-trusted-types-for 'script'; trusted-types 'none'; base-uri 'none'; form-action 'none'`,
      },
    },
  },
  {
    name: 'no bundler',
    app: 'static',
    ways: {
      'an import map': { folder: '.' },
    },
  },
];

/** What the hosts of this run are installed from: folders of this one. */
const EVERY = process.env.HOSTS === 'all';
export const chosen = HOSTS.filter(({ more }) => EVERY || !more);
export const installs = () => [...new Set([...chosen.map(({ install }) => install).filter(Boolean), 'checks', 'jest-30', 'sandbox', 'vitest-4'])];
