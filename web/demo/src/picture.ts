/**
 * A picture and a sound for those who have no camera: an arched window with the sky of a quick day in it, a
 * pendulum that swings, and a few soft notes. Drawn here, nothing is loaded.
 */
import { audioContext } from './level';
import { hueOf } from './names';

const WIDTH = 640;
const HEIGHT = 360;
const RATE = 15;
const DAY = 40; // seconds from one noon to the next
const NOTES = [261.63, 293.66, 329.63, 392.0, 440.0]; // pentatonic: any order is pleasant
const BEAT = 0.8; // seconds between notes

export interface GeneratedPicture {
  readonly audio: MediaStreamTrack;
  readonly video: MediaStreamTrack;
  stop(): void;
}

export function generatedPicture(name: string): GeneratedPicture {
  const canvas = document.createElement('canvas');
  canvas.width = WIDTH;
  canvas.height = HEIGHT;
  const pen = canvas.getContext('2d', { alpha: false });
  const video = canvas.captureStream(RATE).getVideoTracks()[0];
  if (pen === null || video === undefined) throw new Error('this browser cannot film a canvas');
  const hue = hueOf(name);
  const draw = (): void => drawRoom(pen, performance.now() / 1000, hue);
  draw();
  const timer = setInterval(draw, 1000 / RATE);
  const sound = chimes();
  return {
    audio: sound.track,
    video,
    stop() {
      clearInterval(timer);
      video.stop();
      sound.stop();
    },
  };
}

function chimes(): { track: MediaStreamTrack; stop(): void } {
  const audio = audioContext();
  const out = audio.createMediaStreamDestination();
  let next = 0;
  const strike = (): void => {
    // Notes are written a little ahead, so that a late timer is not heard.
    while (next < audio.currentTime + 0.4) {
      next = Math.max(next, audio.currentTime + 0.05);
      const tone = audio.createOscillator();
      const volume = audio.createGain();
      tone.frequency.value = NOTES[Math.floor(next / BEAT) % NOTES.length] ?? 440;
      volume.gain.setValueAtTime(0, next);
      volume.gain.linearRampToValueAtTime(0.2, next + 0.02);
      volume.gain.exponentialRampToValueAtTime(0.001, next + BEAT * 0.9);
      tone.connect(volume).connect(out);
      tone.start(next);
      tone.stop(next + BEAT);
      next += BEAT;
    }
  };
  strike();
  const timer = setInterval(strike, 200);
  const track = out.stream.getAudioTracks()[0];
  if (track === undefined) throw new Error('this browser cannot make sound');
  return {
    track,
    stop() {
      clearInterval(timer);
      track.stop();
    },
  };
}

function arch(pen: CanvasRenderingContext2D, x: number, y: number, width: number, height: number): void {
  pen.beginPath();
  pen.moveTo(x, y + height);
  pen.lineTo(x, y + width / 2);
  pen.arc(x + width / 2, y + width / 2, width / 2, Math.PI, 0);
  pen.lineTo(x + width, y + height);
  pen.closePath();
}

function drawRoom(pen: CanvasRenderingContext2D, time: number, hue: number): void {
  const day = (Math.cos((2 * Math.PI * time) / DAY) + 1) / 2; // 1 at noon, 0 at midnight
  drawWall(pen, hue, day);
  drawWindow(pen, time, day);
  drawClock(pen, time);
}

function drawWall(pen: CanvasRenderingContext2D, hue: number, day: number): void {
  pen.fillStyle = `hsl(${hue.toFixed(1)} 30% ${(16 + 16 * day).toFixed(1)}%)`;
  pen.fillRect(0, 0, WIDTH, HEIGHT);
  pen.strokeStyle = `hsl(${hue.toFixed(1)} 35% ${(21 + 18 * day).toFixed(1)}%)`;
  pen.lineWidth = 2;
  for (let row = 0; row < 8; row += 1) {
    for (let column = 0; column < 15; column += 1) {
      pen.beginPath();
      pen.arc(column * 48 + (row % 2) * 24, row * 40 + 24, 24, Math.PI, 0);
      pen.stroke();
    }
  }
  pen.fillStyle = `hsl(${hue.toFixed(1)} 25% ${(11 + 9 * day).toFixed(1)}%)`;
  pen.fillRect(0, HEIGHT - 54, WIDTH, 54);
}

function drawWindow(pen: CanvasRenderingContext2D, time: number, day: number): void {
  pen.save();
  pen.translate(-20, 0);
  drawSky(pen, time, day);
  drawFrame(pen);
  pen.restore();
}

function drawSky(pen: CanvasRenderingContext2D, time: number, day: number): void {
  pen.save();
  arch(pen, 196, 34, 200, 248);
  pen.clip();
  const sky = pen.createLinearGradient(0, 34, 0, 282);
  sky.addColorStop(0, `hsl(${(228 - 20 * day).toFixed(1)} 55% ${(10 + 50 * day).toFixed(1)}%)`);
  sky.addColorStop(1, `hsl(${(380 - 170 * day * day).toFixed(1)} 65% ${(38 + 42 * day).toFixed(1)}%)`);
  pen.fillStyle = sky;
  pen.fillRect(190, 30, 212, 258);
  const turn = (2 * Math.PI * time) / DAY;
  for (const [offset, colour, radius] of [[0, '#ffe6a3', 24], [Math.PI, '#e9eefc', 17]] as const) {
    pen.fillStyle = colour;
    pen.beginPath();
    pen.arc(296 + 130 * Math.sin(turn + offset), 220 - 130 * Math.cos(turn + offset), radius, 0, 2 * Math.PI);
    pen.fill();
  }
  for (let hill = 0; hill < 3; hill += 1) {
    pen.fillStyle = `hsl(${String(150 - hill * 8)} 30% ${(26 - hill * 6 + 14 * day).toFixed(1)}%)`;
    pen.beginPath();
    pen.arc(230 + hill * 70 + 14 * Math.sin(time / 3 + hill), 340, 100 - hill * 6, 0, 2 * Math.PI);
    pen.fill();
  }
  pen.restore();
}

function drawFrame(pen: CanvasRenderingContext2D): void {
  pen.strokeStyle = '#efe3c8';
  pen.lineWidth = 8;
  arch(pen, 196, 34, 200, 248);
  pen.stroke();
  pen.lineWidth = 4;
  pen.beginPath();
  pen.moveTo(296, 34);
  pen.lineTo(296, 282);
  pen.moveTo(196, 160);
  pen.lineTo(396, 160);
  pen.stroke();
}

function drawClock(pen: CanvasRenderingContext2D, time: number): void {
  const swing = 0.42 * Math.sin((2 * Math.PI * time) / 2);
  pen.save();
  pen.translate(490, 110);
  pen.rotate(swing);
  pen.strokeStyle = '#c9913f';
  pen.lineWidth = 5;
  pen.beginPath();
  pen.moveTo(0, 0);
  pen.lineTo(0, 128);
  pen.stroke();
  pen.fillStyle = '#f0b45c';
  pen.beginPath();
  pen.arc(0, 140, 20, 0, 2 * Math.PI);
  pen.fill();
  pen.restore();
  pen.fillStyle = '#efe3c8';
  pen.beginPath();
  pen.arc(490, 104, 46, 0, 2 * Math.PI);
  pen.fill();
  pen.strokeStyle = '#c9913f';
  pen.lineWidth = 6;
  pen.stroke();
  const now = new Date();
  const minutes = now.getMinutes() + now.getSeconds() / 60;
  const hand = (part: number, length: number, width: number, colour: string): void => {
    pen.strokeStyle = colour;
    pen.lineWidth = width;
    pen.lineCap = 'round';
    pen.beginPath();
    pen.moveTo(490, 104);
    pen.lineTo(490 + length * Math.sin(2 * Math.PI * part), 104 - length * Math.cos(2 * Math.PI * part));
    pen.stroke();
  };
  hand((now.getHours() % 12) / 12 + minutes / 720, 22, 5, '#2b2620');
  hand(minutes / 60, 33, 4, '#2b2620');
  hand((now.getSeconds() + now.getMilliseconds() / 1000) / 60, 36, 2, '#b3382c');
}
