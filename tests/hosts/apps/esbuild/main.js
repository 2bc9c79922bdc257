import { run } from './softphone.js';

run();
