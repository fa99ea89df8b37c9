// Counts what the page captures, and lets a test decide how the coming openings of devices go. For the page's start.
(() => {
  const devices = navigator.mediaDevices;
  const tracks = [];
  const asked = [];
  const gates = [];
  const settings = { held: 0, refused: [], single: false };

  const isLive = (track) => track.readyState === 'live';
  const failure = (name) => Object.assign(new DOMException('as the test wants it', name));

  const counted = (open) => async (constraints) => {
    asked.push(constraints);
    const refusal = settings.refused.shift();
    if (refusal) throw failure(refusal);
    // Some cameras serve one opening at a time.
    const busy = (kind) => constraints[kind] && tracks.some((track) => track.kind === kind && isLive(track));
    if (settings.single && (busy('audio') || busy('video'))) throw failure('NotReadableError');
    const stream = await open(constraints);
    tracks.push(...stream.getTracks());
    if (settings.held > 0) {
      settings.held -= 1;
      await new Promise((release) => gates.push(release));
    }
    return stream;
  };
  devices.getUserMedia = counted(devices.getUserMedia.bind(devices));
  devices.getDisplayMedia = counted(devices.getDisplayMedia.bind(devices));

  window.captures = {
    asked,
    settings,
    tracks,
    live: (kind) => tracks.filter((track) => isLive(track) && (!kind || track.kind === kind)).length,
    // How many openings have their stream and wait for `release`, as while the person is being asked.
    waiting: () => gates.length,
    release: () => gates.splice(0).forEach((release) => release()),
  };
  // What a promise ended with, as a test can read it.
  window.outcome = (promise) =>
    promise.then(
      () => 'done',
      (error) => ({ code: error.getCode?.(), name: error.name, message: error.message }),
    );
})();
