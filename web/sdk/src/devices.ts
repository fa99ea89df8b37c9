import { mediaDevices } from './streams/capture.js';

/** All devices that the browser shows; names are empty until the page was allowed to use one. */
export async function getDevices(): Promise<MediaDeviceInfo[]> {
  return mediaDevices('getDevices').enumerateDevices();
}

export async function getCameras(): Promise<MediaDeviceInfo[]> {
  return ofKind('videoinput');
}

/** Without the browser's doubles of the default and the communication device. */
export async function getMicrophones(): Promise<MediaDeviceInfo[]> {
  const devices = await ofKind('audioinput');
  return devices.filter((device) => device.deviceId !== 'default' && device.deviceId !== 'communications');
}

export async function getSpeakers(): Promise<MediaDeviceInfo[]> {
  return ofKind('audiooutput');
}

async function ofKind(kind: MediaDeviceKind): Promise<MediaDeviceInfo[]> {
  return (await getDevices()).filter((device) => device.kind === kind);
}
