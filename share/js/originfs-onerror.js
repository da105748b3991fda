// Asks the site for what the CDN does not give: images, styles, scripts and media, each once, so nothing loops.
// A file of its own, so that a Content-Security-Policy without 'unsafe-inline' lets it run. In the head, before all else:
// <script src="/originfs-onerror.js" data-cdn="https://cdn.example.org/images" data-site="https://www.example.org/images"></script>
(function (script) {
  'use strict';
  var cdn = script.getAttribute('data-cdn') + '/', site = script.getAttribute('data-site') + '/', done = new WeakSet();
  function moved(url) { return url.lastIndexOf(cdn, 0) ? null : site + url.slice(cdn.length); }
  function swap(element, name) {
    var value = element.getAttribute(name);
    if (!value) return false;
    var other = value.split(/(,?\s+)/).map(function (part) { return moved(part) || part; }).join('');
    if (other === value) return false;
    element.setAttribute(name, other);
    return true;
  }
  function retry(element) {
    if (!element || !element.getAttribute || done.has(element)) return;
    done.add(element);
    if (element.tagName === 'SCRIPT') {
      var copy = document.createElement('script'), from = moved(element.src || '');
      if (!from) return;
      Array.prototype.forEach.call(element.attributes, function (attribute) { copy.setAttribute(attribute.name, attribute.value); });
      copy.nonce = element.nonce;
      copy.src = from;
      copy.async = false;
      done.add(copy);
      element.parentNode.insertBefore(copy, element);
      return;
    }
    var group = element.parentNode && /^(PICTURE|VIDEO|AUDIO)$/.test(element.parentNode.tagName) ? element.parentNode : null;
    if (group) Array.prototype.forEach.call(group.querySelectorAll('source'), function (source) { swap(source, 'srcset'); swap(source, 'src'); });
    ['srcset', 'src', 'href', 'poster'].forEach(function (name) { swap(element, name); });
    if (group && group.load) group.load();
  }
  // Errors of resources do not bubble, but they can be captured on their way down.
  window.addEventListener('error', function (event) { if (event.target !== window) retry(event.target); }, true);
  // What failed before this ran.
  document.addEventListener('DOMContentLoaded', function () {
    Array.prototype.forEach.call(document.images, function (image) { if (image.complete && !image.naturalWidth && image.currentSrc) retry(image); });
  });
})(document.currentScript);
