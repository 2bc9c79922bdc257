import { Component, OnInit, provideZonelessChangeDetection } from '@angular/core';
import { bootstrapApplication } from '@angular/platform-browser';

import { run } from './softphone.js';

@Component({ selector: 'app-root', template: '<p>App</p>' })
class App implements OnInit {
  ngOnInit(): void {
    run();
  }
}

bootstrapApplication(App, { providers: [provideZonelessChangeDetection()] }).catch((error: unknown) => console.error(error));
