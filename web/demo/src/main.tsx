import '@preact/signals';
import { render } from 'preact';
import './styles/base.css';
import './styles/lobby.css';
import './styles/room.css';
import { App } from './ui/app';

const place = document.getElementById('app');
if (place !== null) render(<App />, place);
