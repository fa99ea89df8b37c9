// What stores of apps do to the objects they are given, and an app that knows its client and streams only that way.
const wrappers = {
  // The real thing; the test loads it into the page.
  vue: (value) => {
    const proxy = VueReactivity.reactive(value);
    if (!VueReactivity.isProxy(proxy)) throw new Error('Vue made no proxy of it');
    return proxy;
  },
  readonly: (value) => VueReactivity.readonly(VueReactivity.reactive(value)),
  // Everything that is read from a wrapped object is wrapped too, what its methods return included. What belongs to
  // the browser is let through, for it works on nothing but itself.
  membrane: function membrane(value) {
    const own = typeof value === 'function' || Object.prototype.toString.call(value) === '[object Object]';
    if (!value || !own || value instanceof Error) return value;
    return new Proxy(value, {
      get: (target, key, receiver) => membrane(Reflect.get(target, key, receiver)),
      apply: (target, self, parameters) => membrane(Reflect.apply(target, self, parameters)),
    });
  },
  // As Vue 2 observes: a getter and a setter in the place of every property, all the way down.
  accessors: function observe(value, seen = new Set()) {
    if (Object.prototype.toString.call(value) !== '[object Object]' || seen.has(value)) return value;
    seen.add(value);
    for (const key of Object.keys(value)) {
      let current = value[key];
      observe(current, seen);
      Object.defineProperty(value, key, {
        enumerable: true,
        configurable: true,
        get: () => current,
        set: (next) => (current = next),
      });
    }
    return value;
  },
  frozen: (value) => Object.freeze(value),
  heir: (value) => Object.create(value),
};

const wrapped = {
  events: [],
  remote: null,

  async join({ roomId, ...config }, wrapper) {
    const hold = wrappers[wrapper];
    wrapped.hold = hold;
    const client = hold(TRTC.createClient({ mode: 'rtc', ...config }));
    wrapped.client = client;
    const context = {};
    client.on('stream-added', function ({ stream }) {
      wrapped.events.push(this === context ? 'stream-added' : 'stream-added of a wrong this');
      wrapped.remote = hold(stream);
      client.subscribe(wrapped.remote).catch((error) => wrapped.events.push(error.message));
    }, context);
    client.on('stream-subscribed', () => wrapped.events.push('stream-subscribed'));
    client.on('error', (error) => wrapped.events.push(error.message));
    await client.join({ roomId });
  },

  async publish() {
    const local = wrapped.hold(TRTC.createStream({ audio: true, video: true }));
    wrapped.local = local;
    const context = {};
    local.on('player-state-changed', function ({ type, state }) {
      if (this === context) wrapped.events.push(`${type} ${state}`);
    }, context);
    local.setVideoProfile('240p');
    await local.initialize();
    await local.play(document.body.appendChild(document.createElement('div')));
    await wrapped.client.publish(local);
  },

  async playRemote() {
    const place = document.body.appendChild(document.createElement('div'));
    await wrapped.remote.play(place);
    return [wrapped.remote.isPlaying(), wrapped.remote.muteVideo(), wrapped.remote.unmuteVideo()];
  },

  frames: () => wrapped.remote?.videoPlayer_?.element_.getVideoPlaybackQuality().totalVideoFrames ?? 0,

  async change() {
    const { local } = wrapped;
    const cameras = await TRTC.getCameras();
    const camera = cameras.at(-1).deviceId;
    await local.switchDevice('video', camera);
    const audio = local.getAudioTrack();
    await local.removeTrack(audio);
    await local.addTrack(audio);
    await local.replaceTrack(audio.clone());
    return [local.hasAudio(), local.hasVideo(), local.getVideoTrack().getSettings().deviceId === camera];
  },

  async end() {
    const { client, local, remote } = wrapped;
    await client.unsubscribe(remote);
    const received = remote.getVideoTrack();
    await client.unpublish(local);
    local.stop();
    const playing = local.isPlaying();
    const replaced = local.getAudioTrack();
    local.off('*');
    client.off('*');
    local.close();
    replaced.stop();
    await client.leave();
    return [received, playing, local.hasVideo()];
  },
};
