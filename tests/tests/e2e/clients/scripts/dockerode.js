// dockerode drives a whole life: its containers, streams, files, images and errors. Each case stands for itself.
'use strict';
const assert = require('node:assert/strict');
const { once } = require('node:events');
const { PassThrough } = require('node:stream');
const { setTimeout: pause } = require('node:timers/promises');
const Docker = require('dockerode');
const tar = require('tar-stream');

const docker = new Docker();

async function text(stream) {
  const pieces = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

/** Both outputs of a stream of frames, once it has ended. */
async function demuxed(stream) {
  const out = new PassThrough(), err = new PassThrough();
  docker.modem.demuxStream(stream, out, err);
  stream.on('end', () => { out.end(); err.end(); });
  return Promise.all([text(out), text(err)]);
}

/** What a stream of JSON lines has said. */
function progress(stream) {
  return new Promise((resolve, reject) =>
    docker.modem.followProgress(stream, (error, said) => (error ? reject(error) : resolve(said))));
}

/** The next piece of a stream that holds this. */
async function until(stream, wanted) {
  let said = '';
  for await (const piece of stream.iterator({ destroyOnReturn: false })) {
    said += piece;
    if (said.includes(wanted)) return said;
  }
  assert.fail(`the stream ended without ${JSON.stringify(wanted)}: ${JSON.stringify(said)}`);
}

function archive(files) {
  const pack = tar.pack();
  for (const [name, content] of Object.entries(files)) pack.entry({ name, mode: 0o644 }, content);
  pack.finalize();
  return pack;
}

async function unpacked(stream) {
  const files = {};
  const extract = tar.extract();
  extract.on('entry', async (header, content, next) => {
    files[header.name] = await text(content);
    next();
  });
  stream.pipe(extract);
  await once(extract, 'finish');
  return files;
}

// dockerd calls some faults of the client its own.
const dockerd = process.env.DHOW_TEST_ENGINE === 'dockerd';
const refused = (promise, statusCode, says) => assert.rejects(promise, (error) => {
  if (!(dockerd && statusCode === 400 && error.statusCode === 500)) assert.equal(error.statusCode, statusCode, error);
  assert.match(error.json?.message ?? error.message, says);
  return true;
});

const create = (name, Cmd, more) => docker.createContainer({ name, Image: 'busybox', Cmd, ...more });

async function running(name, more) {
  const container = await create(name, ['sleep', '1000'], more);
  await container.start();
  return container;
}

const cases = {
  async system() {
    assert.equal((await docker.ping()).toString(), 'OK');
    const version = await docker.version();
    assert.ok(version.ApiVersion && version.Version && version.Os === 'linux', version);
    const info = await docker.info();
    assert.equal(info.OSType, 'linux');
    assert.equal(typeof info.NCPU, 'number');
    assert.ok(Array.isArray((await docker.df()).Images));
    await refused(new Docker({ version: 'v1.10' }).info(), 400, /client version 1\.10 is too old/);
    await refused(new Docker({ version: 'v9.99' }).info(), 400, /client version 9\.99 is too new/);
  },

  async pull() {
    const said = await progress(await docker.pull('busybox:latest'));
    assert.match(said.at(-1).status, /^Status: (Downloaded newer image|Image is up to date) for busybox:latest$/);
    await refused(docker.pull('nosuch/image:latest'), 404, /nosuch\/image/);
    await refused(docker.pull('127.0.0.1:5000/nosuch:latest'), 404, /nosuch/);
    await refused(docker.createImage({ fromImage: 'UPPER' }), 400, /invalid reference format/);
  },

  async run() {
    const out = new PassThrough();
    const said = text(out);
    const [data, container] = await docker.run('busybox', ['sh', '-c', 'echo hi; exit 3'], out, { HostConfig: { AutoRemove: false } });
    assert.equal(data.StatusCode, 3);
    // The outputs end when the stream does, which may be after the wait's answer.
    assert.equal(await said, 'hi\r\n');
    await container.remove();
    // Without a terminal the two outputs are told apart.
    const [one, two] = [new PassThrough(), new PassThrough()];
    const both = Promise.all([text(one), text(two)]);
    await docker.run('busybox', ['sh', '-c', 'echo out; echo err >&2'], [one, two], { Tty: false, HostConfig: { AutoRemove: true } });
    assert.deepEqual(await both, ['out\n', 'err\n']);
    await new Promise((resolve, reject) =>
      docker.run('nosuch/image', ['true'], process.stdout, (error) => (error?.statusCode === 404 ? resolve() : reject(error))));
  },

  async attach() {
    const how = { OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: true, AttachStderr: true };
    // With the connection upgraded and without: both are streams in both directions.
    for (const hijack of [true, false]) {
      const container = await create(`attached-${hijack}`, ['sh', '-c', 'cat; echo end >&2'], how);
      const stream = await container.attach({ stream: true, stdin: true, stdout: true, stderr: true, hijack });
      await container.start();
      // It does not end before its input does; asked for earlier, the next exit may be over when the daemon comes to it.
      const ended = container.wait();
      const said = demuxed(stream);
      stream.write('one\n');
      stream.write('two\n');
      stream.end();
      if (hijack) assert.deepEqual(await said, ['one\ntwo\n', 'end\n']);
      assert.equal((await ended).StatusCode, 0);
      const logged = await demuxed(await container.logs({ stdout: true, stderr: true, follow: true }));
      assert.deepEqual(logged, ['one\ntwo\n', 'end\n']);
      await container.remove();
    }
    // A terminal: its size is the one that it is given, its bytes come without frames, its keys detach.
    const container = await create('terminal', ['sh'], { ...how, Tty: true });
    let stream = await container.attach({ stream: true, stdin: true, stdout: true, hijack: true, detachKeys: 'ctrl-x' });
    await container.start();
    await until(stream, '#');
    await container.resize({ h: 33, w: 77 });
    stream.write('stty size\n');
    await until(stream, '33 77');
    stream.write('\x18');
    // What is unread of it is in the end's way.
    await text(stream);
    assert.equal((await container.inspect()).State.Status, 'running');
    stream = await container.attach({ stream: true, stdin: true, stdout: true, hijack: true });
    stream.write('exit 7\n');
    assert.equal((await container.wait()).StatusCode, 7);
    await container.remove();
    await refused(docker.getContainer('nosuch').attach({ stream: true, hijack: true, stdin: true }), 404, /No such container: nosuch/);
  },

  async logs() {
    const container = await create('talks', ['sh', '-c', 'echo one; echo two; read x; echo $x; sleep 0.2; echo last >&2'], { OpenStdin: true });
    const stdin = await container.attach({ stream: true, stdin: true, hijack: true });
    await container.start();
    const follow = await container.logs({ follow: true, stdout: true, stderr: true });
    await until(follow, 'two');
    stdin.write('three\n');
    await until(follow, 'last');
    await container.wait();
    // Not followed they are one buffer, still with its frames.
    const frame = (kind, line) => Buffer.concat([Buffer.from([kind, 0, 0, 0, 0, 0, 0, line.length]), Buffer.from(line)]);
    assert.deepEqual(await container.logs({ stdout: true, stderr: true, tail: 2 }), Buffer.concat([frame(1, 'three\n'), frame(2, 'last\n')]));
    assert.deepEqual(await container.logs({ stderr: true }), frame(2, 'last\n'));
    // Lines of either output count.
    assert.equal((await container.logs({ stdout: true, tail: 1 })).length, 0);
    const stamped = (await container.logs({ stderr: true, timestamps: true, tail: 1 })).subarray(8).toString();
    assert.match(stamped, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z last\n$/);
    assert.equal((await container.logs({ stdout: true, since: Date.now() / 1000 + 100 })).length, 0);
    await refused(container.logs({}), 400, /at least one/);
    await container.remove();
    // A follower that gives up ends neither the daemon's nor the container's part.
    const quiet = await running('quiet');
    const giveUp = new AbortController();
    const waiting = await quiet.logs({ follow: true, stdout: true, abortSignal: giveUp.signal });
    giveUp.abort();
    await assert.rejects(text(waiting));
    await quiet.remove({ force: true });
  },

  async exec() {
    const container = await running('executes', { Env: ['A=1'] });
    const start = async (Cmd, how, started) => {
      const exec = await container.exec({ Cmd, AttachStdout: true, AttachStderr: true, ...how });
      return [exec, await exec.start({ hijack: true, ...started })];
    };
    let [exec, stream] = await start(['sh', '-c', 'echo $A$B in $PWD; echo err >&2; exit 4'], { Env: ['B=2'], WorkingDir: '/tmp' });
    assert.deepEqual(await demuxed(stream), ['12 in /tmp\n', 'err\n']);
    const inspected = await exec.inspect();
    assert.equal(inspected.ExitCode, 4);
    assert.equal(inspected.Running, false);
    assert.deepEqual(inspected.ProcessConfig.arguments, ['-c', 'echo $A$B in $PWD; echo err >&2; exit 4']);
    // Its standard input, which ends.
    [exec, stream] = await start(['sh', '-c', 'cat; echo end'], { AttachStdin: true }, { stdin: true });
    const said = demuxed(stream);
    stream.write('ahoy\n');
    stream.end();
    assert.deepEqual(await said, ['ahoy\nend\n', '']);
    // A terminal.
    [exec, stream] = await start(['sh'], { AttachStdin: true, Tty: true }, { stdin: true, Tty: true });
    await until(stream, '#');
    await exec.resize({ h: 20, w: 50 });
    stream.write('stty size\n');
    await until(stream, '20 50');
    stream.write('exit 5\n');
    await text(stream);
    assert.equal((await exec.inspect()).ExitCode, 5);
    // Nobody attached to it.
    exec = await container.exec({ Cmd: ['touch', '/made'] });
    await exec.start({ Detach: true });
    while ((await exec.inspect()).Running !== false) await pause(20);
    assert.equal((await exec.inspect()).ExitCode, 0);
    // As a user who is not root, and as one who is not there.
    [exec, stream] = await start(['id', '-u'], { User: 'www' });
    assert.deepEqual(await demuxed(stream), ['33\n', '']);
    await refused(container.exec({ Cmd: ['id'], User: 'nosuch' }), 400, /nosuch/);
    await refused(container.exec({ Cmd: [] }), 400, /[Nn]o exec command specified/);
    await refused(docker.getExec('0'.repeat(64)).inspect(), 404, /[Nn]o such exec instance/);
    await container.pause();
    await refused(container.exec({ Cmd: ['id'] }), 409, /is paused/);
    await container.remove({ force: true });
  },

  async inspect_and_change() {
    const container = await running('looked-at', {
      Labels: { a: 'b' }, ExposedPorts: { '80/tcp': {} },
      HostConfig: { Memory: 64 << 20, PortBindings: { '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '' }] }, RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 2 } },
    });
    let found = await container.inspect({ size: true });
    assert.equal(found.Name, '/looked-at');
    assert.equal(found.HostConfig.Memory, 64 << 20);
    assert.equal(typeof found.SizeRootFs, 'number');
    assert.match(found.NetworkSettings.Ports['80/tcp'][0].HostPort, /^\d+$/);
    assert.equal(found.HostConfig.RestartPolicy.MaximumRetryCount, 2);
    const [listed] = await docker.listContainers({ filters: { label: ['a=b'], status: ['running'] } });
    assert.deepEqual(listed.Names, ['/looked-at']);
    assert.equal(listed.Ports[0].PrivatePort, 80);
    assert.deepEqual(await docker.listContainers({ filters: JSON.stringify({ name: ['nosuch'] }) }), []);
    const top = await container.top({ ps_args: 'aux' });
    assert.ok(top.Titles.includes('PID') && top.Processes[0].includes('sleep 1000'), top);
    await container.update({ Memory: 128 << 20, MemorySwap: 256 << 20 });
    await container.rename({ name: 'renamed' });
    await container.pause();
    assert.equal((await container.inspect()).State.Paused, true);
    await container.unpause();
    found = await container.inspect();
    assert.deepEqual([found.Name, found.HostConfig.Memory], ['/renamed', 128 << 20]);
    const before = found.State.Pid;
    await container.restart({ t: 0 });
    assert.notEqual((await container.inspect()).State.Pid, before);
    await refused(container.start(), 304, /./s);
    await container.kill({ signal: 'SIGKILL' });
    assert.equal((await container.wait()).StatusCode, 137);
    await refused(container.kill(), 409, /is not running/);
    await refused(container.stop(), 304, /./s);
    await container.remove({ v: true });
    await refused(container.inspect(), 404, /No such container/);
  },

  async stats() {
    const container = await running('measured');
    const once_ = await container.stats({ stream: false });
    assert.ok(once_.memory_stats.usage > 0 && once_.cpu_stats.online_cpus > 0 && once_.pids_stats.current === 1, once_);
    assert.ok(once_.networks.eth0.rx_bytes >= 0, once_);
    assert.notEqual(once_.precpu_stats.cpu_usage.total_usage, 0);
    const single = await container.stats({ stream: false, 'one-shot': true });
    assert.equal(single.precpu_stats.cpu_usage.total_usage, 0);
    const stream = await container.stats({ stream: true });
    let said = '';
    for await (const piece of stream) {
      said += piece;
      if (said.split('\n').length > 2) break;
    }
    const [, second] = said.split('\n').map((line) => line && JSON.parse(line));
    assert.equal(second.name, '/measured');
    await container.remove({ force: true });
  },

  async events() {
    const since = Math.floor(Date.now() / 1000);
    const stream = await docker.getEvents({ filters: { type: ['container'], container: ['eventful'] } });
    const container = await create('eventful', ['true'], { Labels: { why: 'so' } });
    await container.start();
    await container.wait();
    await container.remove();
    const seen = (await until(stream, '"destroy"')).trim().split('\n').map((line) => JSON.parse(line));
    stream.destroy();
    // What one exec or network thing more would add is not asked for here.
    const actions = seen.map((event) => event.Action);
    assert.deepEqual(actions, ['create', 'start', 'die', 'destroy']);
    assert.deepEqual([seen[0].Actor.Attributes.why, seen[2].Actor.Attributes.exitCode], ['so', '0']);
    // The same of the past.
    const past = await text(await docker.getEvents({ since, until: Math.floor(Date.now() / 1000) + 1, filters: { container: ['eventful'], event: ['die', 'start'] } }));
    assert.deepEqual(past.trim().split('\n').map((line) => JSON.parse(line).Action), ['start', 'die']);
  },

  async archives() {
    const made = await create('files-made', ['true']);
    const runs = await running('files-run');
    for (const container of [made, runs]) {
      await container.putArchive(archive({ 'cargo/one': 'first', 'two': 'x'.repeat(100000) }), { path: '/root' });
      const files = await unpacked(await container.getArchive({ path: '/root' }));
      assert.equal(files['root/cargo/one'], 'first');
      assert.equal(files['root/two'].length, 100000);
      const response = await container.infoArchive({ path: '/root/two' });
      response.resume();
      const stat = JSON.parse(Buffer.from(response.headers['x-docker-container-path-stat'], 'base64'));
      assert.deepEqual([stat.name, stat.size], ['two', 100000]);
      await refused(container.getArchive({ path: '/nosuch' }), 404, /Could not find the file \/nosuch/);
      await refused(container.putArchive(archive({ a: 'b' }), { path: '/nosuch' }), 404, /Could not find the file \/nosuch/);
      await refused(container.putArchive(archive({ a: 'b' }), { path: '/etc/passwd' }), 400, /not a directory/);
      await refused(container.putArchive(Buffer.from('no archive'.repeat(200)), { path: '/root' }), 400, /./);
    }
    assert.deepEqual((await made.changes()).filter((change) => change.Kind === 1).map((change) => change.Path).sort(), ['/root/cargo', '/root/cargo/one', '/root/two']);
    const exported = await unpacked(await made.export());
    assert.equal(exported['root/cargo/one'], 'first');
    await made.remove();
    await runs.remove({ force: true });
  },

  async images() {
    const container = await create('to-commit', ['sh', '-c', 'echo kept > /file']);
    await container.start();
    await container.wait();
    const { Id } = await container.commit({ repo: 'committed', tag: '1', comment: 'why', changes: 'LABEL c=d', Cmd: ['cat', '/file'] });
    await container.remove();
    const image = docker.getImage('committed:1');
    assert.equal((await image.inspect()).Id, Id);
    assert.deepEqual((await image.inspect()).Config.Labels, { c: 'd' });
    const [newest] = await image.history();
    assert.equal(newest.Comment, 'why');
    const out = new PassThrough();
    const said = text(out);
    await docker.run('committed:1', [], out, { Tty: false, Cmd: undefined, HostConfig: { AutoRemove: true } });
    assert.match(await said, /kept\n$/);
    // To a registry and back.
    await image.tag({ repo: '127.0.0.1:5000/js/committed', tag: 'x' });
    const pushed = docker.getImage('127.0.0.1:5000/js/committed:x');
    const pushing = await progress(await pushed.push());
    assert.ok(pushing.some((line) => /^x: digest: sha256:[0-9a-f]{64} size: \d+$/.test(line.status ?? '')), pushing);
    assert.ok(!pushing.some((line) => line.error), pushing);
    await pushed.remove();
    await progress(await docker.pull('127.0.0.1:5000/js/committed:x'));
    assert.equal((await pushed.inspect()).Id, Id);
    await pushed.remove();
    // To an archive and back.
    const pieces = [];
    for await (const piece of await image.get()) pieces.push(piece);
    const removed = await image.remove();
    assert.ok(removed.some((line) => line.Untagged) && removed.some((line) => line.Deleted), removed);
    const loading = await progress(await docker.loadImage(Buffer.concat(pieces)));
    assert.ok(loading.some((line) => /^Loaded image: committed:1\n$/.test(line.stream ?? '')), loading);
    assert.equal((await image.inspect()).Id, Id);
    await image.remove();
    // From any archive of files.
    const importing = await progress(await docker.importImage(archive({ hello: 'world' }), { repo: 'imported', tag: '2' }));
    assert.match(importing.at(-1).status, /^sha256:[0-9a-f]{64}$/);
    const listed = await docker.listImages({ filters: { reference: ['imported'] } });
    assert.deepEqual(listed.map((each) => each.RepoTags), [['imported:2']]);
    await docker.getImage('imported:2').remove();
    await refused(image.inspect(), 404, /No such image: committed:1/);
    await refused(docker.getImage('nosuch').remove(), 404, /No such image: nosuch/);
    await refused(docker.getImage('busybox').tag({ repo: 'UPPER' }), 400, /invalid reference format/);
  },

  async volumes_and_networks() {
    const volume = await docker.createVolume({ Name: 'held', Labels: { v: '1' } });
    assert.equal((await volume.inspect()).Name, 'held');
    const { Volumes } = await docker.listVolumes({ filters: { label: ['v=1'] } });
    assert.deepEqual(Volumes.map((each) => each.Name), ['held']);
    const holder = await create('holder', ['true'], { HostConfig: { Binds: ['held:/data'], Mounts: [{ Type: 'tmpfs', Target: '/scratch', TmpfsOptions: { SizeBytes: 1 << 20 } }] } });
    await refused(volume.remove(), 409, /volume is in use/);
    await holder.remove();
    await volume.remove();
    await refused(volume.inspect(), 404, /no such volume/);
    const networks = await docker.listNetworks();
    for (const name of ['bridge', 'host', 'none']) assert.ok(networks.some((network) => network.Name === name), name);
    assert.equal((await docker.getNetwork('bridge').inspect()).Driver, 'bridge');
    await refused(docker.getNetwork('nosuch').inspect(), 404, /nosuch/);
  },

  async errors() {
    const first = await create('taken', ['true']);
    await refused(create('taken', ['true']), 409, /Conflict\. The container name "\/taken" is already in use/);
    await refused(docker.createContainer({ Image: 'nosuch:1' }), 404, /No such image: nosuch:1/);
    await refused(create('bad name', ['true']), 400, /Invalid container name/);
    await refused(create('bad', ['true'], { HostConfig: { Memory: 1 } }), 400, /Minimum memory limit/);
    await refused(create('bad', ['true'], { HostConfig: { Binds: ['a:b:c:d'] } }), 400, /invalid volume specification/);
    await refused(docker.listContainers({ filters: { nosuch: ['x'] } }), 400, /invalid filter/);
    await refused(docker.getContainer('nosuch').start(), 404, /No such container: nosuch/);
    await refused(docker.getImage('busybox').remove(), 409, /container|use/);
    await first.remove();
    const container = await running('busy');
    await refused(container.remove(), 409, /^cannot remove container ".*": container is running: stop the container before removing or force remove$/);
    await refused(docker.getImage('busybox').remove(), 409, /conflict: unable to (remove|delete)/);
    await refused(container.resize({ h: 'x', w: 1 }), 400, /invalid/);
    await container.remove({ force: true });
    // What can't be executed is known at the start.
    const wrong = await create('wrong', ['/nosuch']);
    await refused(wrong.start(), 400, /no such file or directory/);
    assert.equal((await wrong.inspect()).State.ExitCode, 127);
    await wrong.remove();
    // Callbacks are given the same.
    await new Promise((resolve) => docker.getContainer('nosuch').inspect((error, data) => {
      assert.equal(error.statusCode, 404);
      assert.equal(error.reason, 'no such container');
      assert.equal(data, null);
      resolve();
    }));
  },

  async prune() {
    await create('left', ['true'], { Labels: { prune: 'me' } });
    const { ContainersDeleted } = await docker.pruneContainers({ filters: { label: ['prune=me'] } });
    assert.equal(ContainersDeleted.length, 1);
    await docker.createVolume({ Labels: { prune: 'me' } });
    assert.equal((await docker.pruneVolumes({ filters: { label: ['prune=me'] } })).VolumesDeleted.length, 1);
    assert.equal((await docker.pruneImages({ filters: { label: ['prune=me'] } })).SpaceReclaimed, 0);
  },
};

async function main() {
  const wanted = process.argv.slice(2);
  for (const [name, run] of Object.entries(cases)) {
    if (wanted.length && !wanted.includes(name)) continue;
    const deadline = setTimeout(() => { console.error(`${name} takes too long`); process.exit(1); }, 60_000);
    try {
      await run();
    } catch (error) {
      console.error(`${name}:`, error);
      process.exitCode = 1;
    }
    clearTimeout(deadline);
    console.log(name);
  }
  // Streams that a failed case left open are no reason to stay.
  process.exit();
}

main();
