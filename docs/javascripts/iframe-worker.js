/* Search runs in a worker, which browsers do not start for pages opened from a folder (file://). There, a hidden frame
   with the same script takes the worker's place. Over http this file does nothing. */
(() => {
  if (location.protocol !== "file:") return;

  class IFrameWorker extends EventTarget {
    constructor(address) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      this.frame.title = "Search";
      this.frame.srcdoc = "<!doctype html><title>Search</title><body></body>";
      this.ready = new Promise((done) => this.frame.addEventListener("load", done, {once: true})).then(() => {
        const inside = this.frame.contentWindow;
        // As in workers, except that it returns a promise.
        inside.importScripts = (...scripts) =>
          scripts.reduce((before, script) => before.then(() => this.load(script)), Promise.resolve());
        inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", {data}));
        return this.load(new URL(address, location));
      });
      document.body.append(this.frame);
    }

    load(address) {
      return new Promise((done, failed) => {
        const script = this.frame.contentDocument.createElement("script");
        script.src = address;
        script.onload = done;
        script.onerror = failed;
        this.frame.contentDocument.body.append(script);
      });
    }

    postMessage(data) {
      this.ready.then(() => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", {data})));
    }

    terminate() {
      this.frame.remove();
    }
  }

  // Material looks for this name to find its other scripts.
  window.IFrameWorker = window.Worker = IFrameWorker;
})();
