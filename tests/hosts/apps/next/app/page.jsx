'use client';

import { useEffect } from 'react';

import { run } from './softphone.js';

export default function Page() {
  useEffect(run, []);
  return <p>App</p>;
}
