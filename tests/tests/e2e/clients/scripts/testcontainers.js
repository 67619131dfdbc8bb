// Testcontainers for Node: the generic container with every wait strategy, files, commands and its reaper.
//
// With `abort` as its argument it starts a session that nobody ends, and is killed: what is left is the reaper's.
'use strict';
const assert = require('node:assert/strict');
const fs = require('node:fs/promises');
const Docker = require('dockerode');
const tar = require('tar-stream');
const { GenericContainer, Network, PullPolicy, Wait, getContainerRuntimeClient } = require('testcontainers');

const docker = new Docker();
const SERVE = 'mkdir -p /www && echo hello >/www/index.html && exec httpd -f -p 8080 -h /www';
const box = (script, image = 'busybox') => new GenericContainer(image).withCommand(['sh', '-c', script]).withStartupTimeout(30_000);
// What says something as soon as it is there.
const said = (script) => box(`${script}; echo ready; exec sleep 1000`).withWaitStrategy(Wait.forLogMessage('ready'));

async function text(stream) {
  let all = '';
  for await (const piece of stream) all += piece;
  return all;
}

async function within(container, use) {
  const started = await container.start();
  try {
    await use?.(started);
  } finally {
    await started.stop({ timeout: 0 });
  }
  await assert.rejects(docker.getContainer(started.getId()).inspect(), { statusCode: 404 });
}

const cases = {
  async runtime() {
    const { info } = await getContainerRuntimeClient();
    assert.equal(info.containerRuntime.host, '127.0.0.1');
    assert.ok(info.containerRuntime.cpus > 0 && info.containerRuntime.serverVersion);
  },

  async logs() {
    const lines = [];
    const container = box('echo one; sleep 0.2; echo ready 1; echo ready 2; exec sleep 1000')
      .withWaitStrategy(Wait.forLogMessage(/ready \d/, 2))
      .withLogConsumer((stream) => stream.on('data', (line) => lines.push(line)));
    await within(container, async (started) => {
      let all = '';
      for await (const piece of await started.logs()) {
        all += piece;
        if (all.includes('ready 2')) break;
      }
      assert.match(all, /one\s+ready 1\s+ready 2/);
      const { Config } = await docker.getContainer(started.getId()).inspect();
      assert.ok(Config.Labels['org.testcontainers.session-id'], Config.Labels);
    });
    assert.match(lines.join(''), /one/);
    await assert.rejects(box('echo no').withWaitStrategy(Wait.forLogMessage('yes')).start(), /yes/);
    await assert.rejects(box('exec sleep 1000').withWaitStrategy(Wait.forLogMessage('yes')).withStartupTimeout(500).start(), /not received after 500ms/);
  },

  async ports() {
    // The default strategy: it looks at the port from outside and, with commands, from inside.
    await within(box(`sleep 0.2; ${SERVE}`).withExposedPorts(8080), async (started) => {
      const url = `http://${started.getHost()}:${started.getMappedPort(8080)}/`;
      assert.equal(started.getMappedPort(8080), started.getFirstMappedPort());
      assert.equal(await (await fetch(url)).text(), 'hello\n');
      assert.equal((await fetch(`${url}none`)).status, 404);
      assert.deepEqual(started.getNetworkNames(), ['bridge']);
      assert.match(started.getIpAddress('bridge'), /^172\./);
    });
    await within(box(SERVE).withExposedPorts({ container: 8080, host: 18081 }), async (started) => {
      assert.equal(started.getMappedPort('8080/tcp'), 18081);
      await assert.rejects(box(SERVE).withExposedPorts({ container: 8080, host: 18081 }).start(), /port is already allocated/);
    });
  },

  async http() {
    const waiting = Wait.forHttp('/', 8080).forStatusCode(200).forResponsePredicate((body) => body === 'hello\n');
    await within(box(`sleep 0.2; ${SERVE}`).withExposedPorts(8080).withWaitStrategy(waiting));
  },

  async commands() {
    const waiting = Wait.forSuccessfulCommand('test -e /ready');
    await within(box('sleep 0.3; touch /ready; exec sleep 1000').withWaitStrategy(waiting), async (started) => {
      const done = await started.exec(['sh', '-c', 'echo out $X in $PWD; echo err >&2; exit 4'], { env: { X: '1' }, workingDir: '/tmp', user: 'www' });
      assert.deepEqual([done.exitCode, done.stdout, done.stderr], [4, 'out 1 in /tmp\n', 'err\n']);
      assert.equal((await started.exec(['/nosuch'])).exitCode, 127);
    });
  },

  async health_and_others() {
    const check = { test: ['CMD', 'test', '-e', '/ready'], interval: 200, retries: 100 };
    const slow = () => box('sleep 0.3; touch /ready; echo ready; exec sleep 1000').withHealthCheck(check);
    await within(slow().withWaitStrategy(Wait.forHealthCheck()));
    await within(slow().withWaitStrategy(Wait.forAll([Wait.forHealthCheck(), Wait.forLogMessage('ready')])));
    const sick = box('exec sleep 1000').withHealthCheck({ test: ['CMD', 'false'], interval: 100, retries: 1 });
    await assert.rejects(sick.withWaitStrategy(Wait.forHealthCheck()).start(), /unhealthy/);
    await within(box('true').withWaitStrategy(Wait.forOneShotStartup()));
    await assert.rejects(box('exit 3').withWaitStrategy(Wait.forOneShotStartup()).start(), /failed to start/);
  },

  async files() {
    await fs.writeFile('carried', 'from a file\n');
    const packed = tar.pack();
    packed.entry({ name: 'packed' }, 'from an archive\n');
    packed.finalize();
    const whole = said('cat /in/* /tmp/packed; df -m /scratch | tail -n 1; ulimit -n; id -u; hostname')
      .withCopyContentToContainer([{ content: 'from memory\n', target: '/in/1', mode: 0o600 }])
      .withCopyFilesToContainer([{ source: 'carried', target: '/in/2' }])
      .withCopyArchivesToContainer([{ tar: packed, target: '/tmp' }])
      .withTmpFs({ '/scratch': 'size=1m' }).withUlimits({ nofile: { hard: 2000, soft: 1000 } })
      .withResourcesQuota({ memory: 0.25, cpu: 1 }).withSharedMemorySize(1 << 20)
      .withExtraHosts([{ host: 'other', ipAddress: '10.0.0.1' }])
      .withHostname('inside').withWorkingDir('/tmp').withUser('0').withName('named').withLabels({ a: 'b' });
    await within(whole, async (started) => {
      let all = '';
      for await (const piece of await started.logs()) {
        all += piece;
        if (all.includes('ready')) break;
      }
      assert.match(all, /from memory\s+from a file\s+from an archive\s+tmpfs +1 .*\s+1000\s+0\s+inside\s+ready/);
      const { HostConfig, Config } = await docker.getContainer('named').inspect();
      assert.deepEqual([HostConfig.Memory, HostConfig.NanoCpus, HostConfig.ShmSize, Config.WorkingDir], [1 << 28, 1e9, 1 << 20, '/tmp']);
      assert.match((await started.exec(['grep', 'other', '/etc/hosts'])).stdout, /^10\.0\.0\.1\s+other$/m);
      await started.copyContentToContainer([{ content: 'later', target: '/in/3' }]);
      const extract = (await started.copyArchiveFromContainer('/in')).pipe(tar.extract());
      const files = {};
      extract.on('entry', async (header, content, next) => { files[header.name] = await text(content); next(); });
      await new Promise((resolve) => extract.on('finish', resolve));
      assert.deepEqual(files, { 'in/': '', 'in/1': 'from memory\n', 'in/2': 'from a file\n', 'in/3': 'later' });
      await started.restart({ timeout: 0 });
      const id = await started.commit({ repo: 'localhost/committed', tag: '1', deleteOnExit: false });
      assert.equal((await docker.getImage('localhost/committed:1').inspect()).Id.split(':').at(-1), id.split(':').at(-1));
    });
    await docker.getImage('localhost/committed:1').remove();
  },

  async networks() {
    const network = await new Network().start();
    const serving = box(SERVE).withExposedPorts(8080).withNetwork(network).withNetworkAliases('web');
    await within(serving, async (web) => {
      await within(box('exec sleep 1000').withNetwork(network), async (asks) => {
        const page = await asks.exec(['wget', '-q', '-O', '-', 'http://web:8080/']);
        assert.deepEqual([page.exitCode, page.stdout], [0, 'hello\n']);
        const { stdout } = await asks.exec(['ping', '-c', '1', web.getHostname()]);
        assert.ok(stdout.includes(`(${web.getIpAddress(network.getName())})`), stdout);
      });
    });
    await network.stop();
    assert.deepEqual(await docker.listNetworks({ filters: { id: [network.getId()] } }), []);
  },

  async images() {
    await assert.rejects(box('true', 'nosuch/image').start(), /nosuch\/image/);
    await assert.rejects(box('true', 'nosuch/image').withPullPolicy(PullPolicy.neverPull()).start(), /does not exist locally/);
    await docker.getImage('busybox').remove({ force: true });
    await within(said('true').withPullPolicy(PullPolicy.alwaysPull()));
  },

  async reuse() {
    const make = () => said('true').withReuse();
    const [one, two] = [await make().start(), await make().start()];
    assert.equal(one.getId(), two.getId());
    await one.stop({ timeout: 0 });
  },
};

async function main() {
  const wanted = process.argv.slice(2);
  if (wanted[0] === 'abort') {
    const network = await new Network().start();
    for (const script of ['exec sleep 1000', 'exec sleep 1000']) await box(script).withNetwork(network).start();
    await box('true').withWaitStrategy(Wait.forOneShotStartup()).start();
    process.stdout.write('left\n', () => process.kill(process.pid, 'SIGKILL'));
    return;
  }
  for (const [name, run] of Object.entries(cases)) {
    if (wanted.length && !wanted.includes(name)) continue;
    try {
      await run();
    } catch (error) {
      console.error(`${name}:`, error);
      process.exitCode = 1;
    }
    console.log(name);
  }
  process.exit();
}

main();
