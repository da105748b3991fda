// <script src="/originfs-onerror.js" data-cdn="URL" data-site="URL"></script>
(s=>{
'use strict';
var d=document,c=s.dataset.cdn+'/',o=s.dataset.site+'/',w=new WeakSet;
function m(u){return u.indexOf(c)?u:o+u.slice(c.length)}
function x(e){
['srcset','src','href','poster'].forEach(n=>{
var v=e.getAttribute(n),t=v&&v.split(/(,?\s+)/).map(m).join('');
if(t!=v)e.setAttribute(n,t)
})
}
function r(e){
if(!e.getAttribute||w.has(e))return;
w.add(e);
var p=e.parentNode,k,g=p&&/^(PICTURE|VIDEO|AUDIO)$/.test(p.tagName);
if(e.tagName=='SCRIPT'){
if(m(e.src)==e.src)return;
k=d.createElement('script');
for(var a of e.attributes)k.setAttribute(a.name,a.value);
k.nonce=e.nonce;
k.src=m(e.src);
k.async=!1;
w.add(k);
p.insertBefore(k,e);
return
}
if(g)p.querySelectorAll('source').forEach(x);
x(e);
if(g&&p.load)p.load()
}
addEventListener('error',e=>r(e.target),!0);
d.addEventListener('DOMContentLoaded',()=>{
for(var i of d.images)if(i.complete&&!i.naturalWidth&&i.currentSrc)r(i)
})
})(document.currentScript);
