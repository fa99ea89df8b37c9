// An app as people write it against the v4 API: one script tag, one client, streams played in the page.
// What the tests look at (frames, sound, statistics) is read off the page's own elements and peer connections.

const server = new URLSearchParams(location.search).get('server');
const connections = [];

// The statistics of every peer connection that the SDK makes.
window.RTCPeerConnection = class extends window.RTCPeerConnection {
  constructor(...parameters) {
    super(...parameters);
    connections.push(this);
  }
};

// The sound must arrive as it was spoken: none of the processing that browsers apply to voices.
const capture = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = (constraints) => {
  const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const asked = constraints.audio === true ? {} : constraints.audio;
  return capture({ ...constraints, ...(asked && { audio: { ...asked, ...plain } }) });
};

const EVENTS = [
  'peer-join', 'peer-leave', 'stream-added', 'stream-removed', 'stream-updated', 'stream-subscribed',
  'mute-audio', 'unmute-audio', 'mute-video', 'unmute-video', 'video-received', 'client-banned', 'connection-state-changed', 'error',
];

const app = {
  client: null,
  local: null,
  remotes: {},
  offered: [],
  subscribes: true, // to whatever is offered, at once; or to what one user offers; or to nothing
  events: [],
  volumes: [], // of each `audio-volume`, by user, with who speaks

  load() {
    return new Promise((resolve, reject) => {
      const script = document.createElement('script');
      script.src = `${server}/sdk/trtc.js`;
      script.onload = () => resolve(TRTC.VERSION);
      script.onerror = () => reject(new Error(`no SDK at ${script.src}`));
      document.head.append(script);
    });
  },

  async join({ roomId, role, turn, ...config }) {
    const client = TRTC.createClient({ mode: 'rtc', ...config });
    if (turn) client.setTurnServer(turn);
    app.client = client;
    for (const name of EVENTS) client.on(name, (event) => app.note(name, event));
    client.on('audio-volume', ({ result, speakers }) => {
      const own = (stream) => (stream === app.local || stream === app.remotes[stream.getUserId()]);
      app.volumes.push({
        at: performance.now(),
        speakers,
        of: Object.fromEntries(result.map(({ userId, audioVolume }) => [userId, audioVolume])),
        known: result.every(({ stream }) => own(stream)),
      });
    });
    client.on('stream-added', ({ stream }) => {
      app.offered.push(stream);
      if (app.subscribes === true || app.subscribes === stream.getUserId()) client.subscribe(stream).catch((error) => app.note('subscribe-failed', error));
    });
    client.on('stream-subscribed', async ({ stream }) => {
      const user = stream.getUserId();
      if (app.remotes[user] === stream) return;
      app.remotes[user] = stream;
      const place = document.createElement('div');
      place.style.cssText = 'width:320px;height:180px;position:relative';
      document.getElementById('remotes').append(place);
      await stream.play(place).catch((error) => app.note('play-failed', error));
    });
    client.on('stream-removed', ({ stream }) => {
      stream.stop();
      if (app.remotes[stream.getUserId()] === stream) delete app.remotes[stream.getUserId()];
    });
    await client.join({ roomId, ...(role && { role }) });
  },

  note(name, event) {
    const userId = event?.userId ?? event?.stream?.getUserId?.();
    const code = event?.getCode?.();
    app.events.push({
      name,
      ...(userId !== undefined && { userId }),
      ...(event?.state !== undefined && { state: event.state }),
      ...(event?.reason !== undefined && { reason: event.reason }),
      ...(event?.videoType !== undefined && { videoType: event.videoType }),
      ...(code !== undefined && { code, message: event.message }),
    });
  },

  async publish({ width, height, frameRate, bitrate }) {
    const stream = TRTC.createStream({ audio: true, video: true });
    stream.setVideoProfile({ width, height, frameRate, bitrate });
    await stream.initialize();
    app.local = stream;
    await app.client.publish(stream);
  },

  // A film and a speech that the page plays itself, in place of camera and microphone.
  async publishPlayed({ film, speech, width, height, frameRate, bitrate }) {
    const fetched = async (name) => (await fetch(`/media/${name}`)).blob();
    const video = document.createElement('video');
    video.src = URL.createObjectURL(await fetched(film));
    video.loop = video.muted = true;
    await video.play();
    const canvas = Object.assign(document.createElement('canvas'), { width, height });
    const pen = canvas.getContext('2d');
    setInterval(() => pen.drawImage(video, 0, 0, width, height), 1000 / frameRate);
    // Not an AudioContext: in Firefox it stands still on a machine without a sound device.
    const voice = new Audio(URL.createObjectURL(await fetched(speech)));
    voice.loop = true;
    await voice.play();
    const [videoSource] = canvas.captureStream(frameRate).getVideoTracks();
    const [audioSource] = (voice.mozCaptureStream?.() ?? voice.captureStream()).getAudioTracks();
    const stream = TRTC.createStream({ videoSource, audioSource });
    stream.setVideoProfile({ width, height, frameRate, bitrate });
    await stream.initialize();
    app.local = stream;
    await app.client.publish(stream);
  },

  // Camera and microphone through two peer connections of this page, with no server between: what can be expected.
  async loop(user) {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 640, height: 360 } });
    const [here, there] = [new RTCPeerConnection(), new RTCPeerConnection()];
    here.onicecandidate = ({ candidate }) => there.addIceCandidate(candidate);
    there.onicecandidate = ({ candidate }) => here.addIceCandidate(candidate);
    const received = new MediaStream();
    there.ontrack = ({ track }) => received.addTrack(track);
    for (const track of stream.getTracks()) here.addTrack(track, stream);
    await here.setLocalDescription();
    await there.setRemoteDescription(here.localDescription);
    await there.setLocalDescription();
    await here.setRemoteDescription(there.localDescription);
    const place = document.createElement('div');
    place.id = 'player_loop';
    const video = document.createElement('video');
    video.srcObject = received;
    place.append(video);
    document.getElementById('remotes').append(place);
    app.remotes[user] = {
      getId: () => 'loop',
      getVideoTrack: () => received.getVideoTracks()[0],
      getAudioTrack: () => received.getAudioTracks()[0],
    };
    await video.play();
  },

  async leave() {
    await app.client.leave();
    app.local?.close();
    app.remotes = {};
  },

  // Whether the condition, which may be asynchronous, came true in time.
  async until(condition, argument, milliseconds) {
    const end = performance.now() + milliseconds;
    while (!(await condition(argument))) {
      if (performance.now() > end) return false;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    return true;
  },

  video(user) {
    const stream = app.remotes[user];
    return stream ? document.querySelector(`#player_${CSS.escape(stream.getId())} video`) : null;
  },

  // The inbound statistics of one user's track, or an empty object while there are none. Only its receiver is asked:
  // those of a whole connection cost a page with several films in it a good part of a processor.
  async inbound(user, kind) {
    const stream = app.remotes[user];
    const track = kind === 'video' ? stream?.getVideoTrack() : stream?.getAudioTrack();
    if (!track) return {};
    for (const connection of connections) {
      if (connection.connectionState === 'closed') continue;
      const receiver = connection.getReceivers().find((one) => one.track.id === track.id);
      if (!receiver) continue;
      const statistics = await receiver.getStats();
      for (const entry of statistics.values()) {
        if (entry.type !== 'inbound-rtp' || entry.trackIdentifier !== track.id) continue;
        return { ...entry, codec: statistics.get(entry.codecId)?.mimeType };
      }
    }
    return {};
  },

  // The statistics of one encoding of the video that this page sends.
  async encoding(rid) {
    return (await app.statistics('outbound-rtp')).find((entry) => entry.rid === rid) ?? {};
  },

  // All statistics of one type, of every connection that is open.
  async statistics(type) {
    const open = [...connections].filter((connection) => connection.connectionState !== 'closed');
    const reports = await Promise.all(open.map((connection) => connection.getStats()));
    return reports.flatMap((report) => [...report.values()].filter((entry) => entry.type === type));
  },

  // Pictures of one user's video as they appear, `every` pictures apart, as PNG data addresses.
  grab(user, count, every) {
    const video = app.video(user);
    if (!video) throw new Error(`no video of ${user} on the page`);
    const canvas = document.createElement('canvas');
    const pen = canvas.getContext('2d', { willReadFrequently: true });
    const pictures = [];
    let seen = 0;
    return new Promise((resolve) => {
      const onFrame = () => {
        if (seen % every === 0) {
          canvas.width = video.videoWidth;
          canvas.height = video.videoHeight;
          pen.drawImage(video, 0, 0);
          pictures.push(canvas.toDataURL('image/png'));
        }
        seen += 1;
        if (pictures.length < count) video.requestVideoFrameCallback(onFrame);
        else resolve(pictures);
      };
      video.requestVideoFrameCallback(onFrame);
    });
  },

  // What one user's audio track sounds like for some seconds: 48 kHz, 16 bit, as base64.
  async record(user, seconds) {
    const track = app.remotes[user]?.getAudioTrack();
    if (!track) throw new Error(`no sound of ${user} on the page`);
    const samples = await (navigator.userAgent.includes('Firefox') ? app.recorded(track, seconds) : app.tapped(track, seconds));
    const bytes = new Uint8Array(samples.buffer);
    let text = '';
    for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
    return btoa(text);
  },

  // Through an audio graph, to the sample.
  async tapped(track, seconds) {
    const context = new AudioContext({ sampleRate: 48000 });
    const code = `registerProcessor('tap', class extends AudioWorkletProcessor {
      process([input]) { if (input[0]) this.port.postMessage(input[0].slice()); return true; }
    })`;
    const module = URL.createObjectURL(new Blob([code], { type: 'text/javascript' }));
    await context.audioWorklet.addModule(module);
    const tap = new AudioWorkletNode(context, 'tap', { numberOfOutputs: 0 });
    context.createMediaStreamSource(new MediaStream([track])).connect(tap);
    const samples = new Int16Array(Math.round(seconds * 48000));
    let filled = 0;
    await new Promise((resolve) => {
      tap.port.onmessage = ({ data }) => {
        for (const sample of data) {
          if (filled < samples.length) samples[filled++] = Math.max(-1, Math.min(1, sample)) * 32767;
        }
        if (filled === samples.length) resolve();
      };
    });
    await context.close();
    return samples;
  },

  // Through a recorder's file: in Firefox an audio graph stands still on a machine without a sound device.
  async recorded(track, seconds) {
    const recorder = new MediaRecorder(new MediaStream([track]), { mimeType: 'audio/ogg;codecs=opus', audioBitsPerSecond: 128000 });
    const parts = [];
    recorder.ondataavailable = ({ data }) => parts.push(data);
    const stopped = new Promise((resolve) => (recorder.onstop = resolve));
    recorder.start();
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000 + 500));
    recorder.stop();
    await stopped;
    const file = await new Blob(parts).arrayBuffer();
    const sound = await new OfflineAudioContext(1, 1, 48000).decodeAudioData(file);
    return Int16Array.from(sound.getChannelData(0).subarray(0, Math.round(seconds * 48000)), (sample) =>
      Math.max(-1, Math.min(1, sample)) * 32767);
  },

  // What a failed test prints: where the media got to.
  async report() {
    const lines = app.events.map((event) => JSON.stringify(event));
    for (const [at, connection] of connections.entries()) {
      lines.push(`connection ${at}: ${connection.connectionState}, ice ${connection.iceConnectionState}`);
      for (const entry of (await connection.getStats()).values()) {
        if (!['inbound-rtp', 'outbound-rtp', 'remote-inbound-rtp', 'candidate-pair', 'transport'].includes(entry.type)) continue;
        lines.push(`  ${JSON.stringify(entry)}`);
      }
    }
    return lines.join('\n');
  },
};

window.app = app;
