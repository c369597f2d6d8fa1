#include "raft/sim/run_diagram_page.h"

namespace keelson::raft::sim {

const char kPageStyle[] = R"css(
html,body{margin:0;height:100%;font:13px/1.4 system-ui,sans-serif;color:#1f2328;background:#fff}
body{display:flex;flex-direction:column}
header{padding:8px 16px 0;border-bottom:1px solid #d0d7de;background:#f6f8fa}
h1{font-size:16px;margin:0 0 4px;display:inline-block}
.bad,.good{display:inline-block;margin:0 0 4px 12px;padding:2px 8px;border-radius:4px;font-weight:600}
.bad{background:#ffebe9;color:#a40e26;border:1px solid #ff8182}
.good{background:#dafbe1;color:#116329;border:1px solid #4ac26b}
details{margin:2px 0}summary{cursor:pointer;color:#57606a}
code{display:block;background:#eaeef2;padding:4px 8px;border-radius:4px;user-select:all}
details p{font-size:11px;color:#57606a;margin:4px 0;overflow-wrap:anywhere}
.row{display:flex;flex-wrap:wrap;gap:4px 12px;align-items:center;padding:4px 0}
.row label{white-space:nowrap}.row button{font:inherit;padding:0 8px}
.key{display:inline-block;width:12px;height:12px;border-radius:2px;margin-right:4px;vertical-align:-1px}
#names{position:relative;height:20px;font-weight:600}
#names span{position:absolute;transform:translateX(-50%);white-space:nowrap}
#view{flex:1;overflow:auto;position:relative}
#all{position:relative;overflow:hidden}
svg{position:absolute;left:0}
svg text{font:10px system-ui,sans-serif;fill:#57606a}
.m{fill:none;stroke-width:1.3}.m:hover,.hit:hover+.m{stroke-width:3}
.hit{stroke:transparent;stroke-width:9;fill:none}
)css";

const char kPageControls[] = R"html(
<div class="row"><button id="out">-</button><button id="in">+</button><span id="scale"></span>
<button id="last">to the end</button><label><input type="checkbox" id="lost" checked> lost ones</label>
<span id="kinds" class="row"></span></div><div class="row" id="legend"></div><div id="names"></div>
)html";

const char kPageScript[] = R"js(
"use strict";
const D=JSON.parse(document.getElementById("data").textContent);
const NS="http://www.w3.org/2000/svg",view=document.getElementById("view"),all=document.getElementById("all");
const ROLES={"-1":["down","#d0d7de"],0:["follower","#54aeff"],1:["candidate","#fb8f44"],2:["leader","#2da44e"],3:["pre-candidate","#f2cc60"]};
const COLORS={App:"#0550ae",AppResp:"#6cb6ff",Heartbeat:"#8c959f",HeartbeatResp:"#c4cad1",Vote:"#bc4c00",
 VoteResp:"#e5a072",PreVote:"#9a6700",PreVoteResp:"#d4a72c",Snap:"#8250df",TimeoutNow:"#cf222e",
 Prop:"#116329",ReadIndex:"#1b7c83",ReadIndexResp:"#76c4cb",TransferLeader:"#a40e26"};
const MARKS={crash:["x","#cf222e"],start:["^","#116329"],"start failed":["!","#cf222e"],fatal:["!","#cf222e"],
 pause:["=","#9a6700"],suspend:["=","#9a6700"],clock:["c","#57606a"],"disk stall":["d","#bc4c00"],
 "full disk":["d","#bc4c00"],"bad sync":["d","#cf222e"],restored:["s","#8250df"],membership:["m","#8250df"]};
const LEFT=110,WIDTH=Math.max(110,Math.min(420,(innerWidth-340)/Math.max(1,D.nodes.length)));
const laneOf=new Map(D.nodes.map((n,i)=>[n,LEFT+i*WIDTH]));
const clients=[...new Set(D.clients.map(c=>c.client))].filter(c=>c<10000).sort((a,b)=>a-b);
const clientX=new Map(clients.map((c,i)=>[c,LEFT+D.nodes.length*WIDTH+i*26]));
const right=LEFT+D.nodes.length*WIDTH+clients.length*26+30;
let scale=D.violation?30:8; // pixels a millisecond
const hidden=new Set(["Heartbeat","HeartbeatResp"]);
const y=t=>(t-D.begin)/1e6*scale+16;
function el(parent,name,attributes,title){
  const e=document.createElementNS(NS,name);
  for(const k in attributes)e.setAttribute(k,attributes[k]);
  if(title!==undefined){const t=document.createElementNS(NS,"title");t.textContent=title;e.append(t);}
  parent.append(e);return e;
}
const ms=t=>(t/1e6).toFixed(3)+" ms";
// Spans of equal role and term, and the moments at which more was committed.
const spans=[],commits=[];
{
  const open=new Map();
  for(const s of D.states){
    const o=open.get(s.node);
    if(o&&s.commit>o.commit&&s.role>=0)commits.push({t:s.t,node:s.node,commit:s.commit});
    if(o&&o.role===s.role&&o.term===s.term){o.commit=s.commit;continue;}
    if(o)spans.push({...o,end:s.t});
    open.set(s.node,{...s});
  }
  for(const o of open.values())spans.push({...o,end:D.end});
}
function draw(){
  const top=view.scrollTop-400,bottom=view.scrollTop+view.clientHeight+400;
  const inside=(a,b)=>y(b)>=top&&y(a)<=bottom;
  all.style.height=y(D.end)+80+"px";all.style.width=right+"px";
  all.replaceChildren();
  const height=bottom-top,svg=document.createElementNS(NS,"svg");
  svg.setAttribute("width",right);svg.setAttribute("height",height);
  svg.setAttribute("viewBox",`0 ${top} ${right} ${height}`);svg.style.top=top+"px";all.append(svg);
  const defs=el(svg,"defs",{});
  for(const kind of kinds){
    const m=el(defs,"marker",{id:"a"+kind,viewBox:"0 0 8 8",refX:8,refY:4,markerWidth:7,markerHeight:7,orient:"auto"});
    el(m,"path",{d:"M0 0L8 4L0 8z",fill:COLORS[kind]||"#57606a"});
  }
  // Time.
  const step=[0.1,0.2,0.5,1,2,5,10,20,50,100,200,500,1000,2000].find(s=>s*scale>=40)||5000;
  const first=Math.max(D.begin/1e6,D.begin/1e6+(top-16)/scale),final=Math.min(D.end/1e6,D.begin/1e6+(bottom-16)/scale);
  for(let t=Math.ceil(first/step)*step;t<=final;t+=step){
    const at=y(t*1e6);el(svg,"line",{x1:LEFT-40,x2:right,y1:at,y2:at,stroke:"#eaeef2"});
    el(svg,"text",{x:LEFT-46,y:at+3,"text-anchor":"end"}).textContent=+t.toFixed(1)+" ms";
  }
  for(const f of D.network)if(inside(f.t,f.t)){
    el(svg,"line",{x1:LEFT-40,x2:right,y1:y(f.t),y2:y(f.t),stroke:"#cf222e","stroke-dasharray":"2 4",opacity:.6},f.text+", "+ms(f.t));
    el(svg,"text",{x:2,y:y(f.t)-2,style:"fill:#a40e26"}).textContent=f.text;
  }
  for(const s of spans)if(inside(s.t,s.end)){
    const x=laneOf.get(s.node),a=Math.max(y(s.t),top),b=Math.min(y(s.end),bottom);
    el(svg,"rect",{x:x-5,width:10,y:a,height:Math.max(1,b-a),fill:ROLES[s.role][1],rx:2},
      `node ${s.node}: ${ROLES[s.role][0]}`+(s.role<0?"":` of term ${s.term}`)+`, ${ms(s.t)} to ${ms(s.end)}`);
    if(s.role>=0&&b-a>12)el(svg,"text",{x:x-8,y:Math.max(y(s.t),view.scrollTop)+11,"text-anchor":"end"}).textContent="t"+s.term;
  }
  for(const c of commits)if(inside(c.t,c.t)){
    const x=laneOf.get(c.node);
    el(svg,"rect",{x:x-7,width:14,y:y(c.t)-1,height:2,fill:"#0a3069"},`node ${c.node} knows ${c.commit} to be committed, ${ms(c.t)}`);
    if(scale>=15)el(svg,"text",{x:x+9,y:y(c.t)+3,style:"fill:#0a3069;font-size:9px"}).textContent="c"+c.commit;
  }
  const lost=document.getElementById("lost").checked;
  for(const m of D.messages){
    const end=m.end===null?Math.min(D.end,m.t+1e6):m.end;
    if(hidden.has(m.kind)||!inside(m.t,end)||(m.fate==="lost"&&!lost))continue;
    let x1=laneOf.get(m.from),x2=laneOf.get(m.to);
    if(x1===undefined||x2===undefined)continue;
    x1+=x2>x1?6:-6;x2+=x2>x1?-6:6;
    const dropped=m.fate!=="arrive",part=m.fate==="lost"?.6:m.end===null?.5:1;
    const ex=x1+(x2-x1)*part,ey=y(m.t)+(y(end)-y(m.t))*part,color=COLORS[m.kind]||"#57606a";
    const d=`M${x1} ${y(m.t)}L${ex} ${ey}`,title=m.text+`\nsent ${ms(m.t)}, `+
      (m.fate==="lost"?"lost":m.end===null?"still on its way":"arrived "+ms(m.end));
    el(svg,"path",{class:"hit",d},title);
    el(svg,"path",{class:"m",d,stroke:color,"stroke-dasharray":dropped?"4 3":m.refuse?"1 2":"","marker-end":dropped?"":`url(#a${m.kind})`,opacity:dropped?.7:1},title);
    if(m.fate==="lost")el(svg,"path",{d:`M${ex-4} ${ey-4}l8 8m0-8l-8 8`,stroke:"#cf222e","stroke-width":1.6},title);
  }
  for(const f of D.marks)if(inside(f.t,f.t)&&laneOf.has(f.node)){
    const [sign,color]=MARKS[f.kind]||["?","#57606a"],x=laneOf.get(f.node);
    const g=el(svg,"g",{},f.text+", "+ms(f.t));
    el(g,"circle",{cx:x,cy:y(f.t),r:7,fill:"#fff",stroke:color,"stroke-width":1.6});
    el(g,"text",{x,y:y(f.t)+3.5,"text-anchor":"middle",style:`fill:${color};font-weight:700`}).textContent=sign;
    if(f.kind==="crash"||f.kind==="start")el(g,"text",{x:x+10,y:y(f.t)+3,style:`fill:${color}`}).textContent=f.kind;
  }
  for(const c of D.clients){
    const end=c.end===null?D.end:c.end,x=clientX.get(c.client);
    if(x===undefined||!inside(c.t,end))continue;
    el(svg,"rect",{x:x-5,width:10,y:y(c.t),height:Math.max(2,y(end)-y(c.t)),rx:3,fill:c.kind==="read"?"#b6e3ff":"#aceebb",
      stroke:c.outcome==="refused"?"#cf222e":c.end===null?"#9a6700":"#57606a","stroke-dasharray":c.end===null?"3 2":""},
      c.text+`\n${ms(c.t)} to `+(c.end===null?"no answer":ms(c.end)));
  }
  if(D.violation){
    const at=y(D.end);
    el(svg,"rect",{x:0,width:right,y:at-2,height:4,fill:"#cf222e"},D.violation);
    el(svg,"text",{x:LEFT-40,y:at+18,style:"fill:#a40e26;font-weight:700;font-size:12px"}).textContent=D.violation;
  }
}
const kinds=[...new Set(D.messages.map(m=>m.kind))].sort();
for(const kind of kinds){
  const label=document.createElement("label"),box=document.createElement("input");
  box.type="checkbox";box.checked=!hidden.has(kind);
  box.onchange=()=>{box.checked?hidden.delete(kind):hidden.add(kind);draw();};
  const key=document.createElement("span");key.className="key";key.style.background=COLORS[kind]||"#57606a";
  label.append(box,key,`${kind} ${D.messages.filter(m=>m.kind===kind).length}`);
  document.getElementById("kinds").append(label);
}
const legend=document.getElementById("legend");
function note(color,text){const s=document.createElement("span"),k=document.createElement("span");
  k.className="key";k.style.background=color;s.append(k,text);legend.append(s);}
for(const r of [2,0,3,1,-1])note(ROLES[r][1],ROLES[r][0]);
note("#0a3069","commit");note("#aceebb","client writes");note("#b6e3ff","client reads");
{const s=document.createElement("span");s.textContent="dashed, red cross: lost; dotted: refusal; x crash, ^ start, d disk, = pause, c clock, s snapshot loaded, m membership asked for";legend.append(s);}
const names=document.getElementById("names");
function name(x,text){const s=document.createElement("span");s.style.left=x-16+"px";s.textContent=text;names.append(s);return s;}
const labels=D.nodes.map(n=>[name(laneOf.get(n),"node "+n),laneOf.get(n)]);
for(const c of clients)labels.push([name(clientX.get(c),"c"+c),clientX.get(c)]);
const place=()=>{for(const [s,x] of labels)s.style.left=x-16-view.scrollLeft+"px";};
function zoom(factor,at){
  const middle=at===undefined?view.clientHeight/2:at,time=(view.scrollTop+middle-16)/scale;
  scale=Math.min(4000,Math.max(.2,scale*factor));
  document.getElementById("scale").textContent=scale.toFixed(1)+" px/ms";
  draw();view.scrollTop=time*scale+16-middle;draw();
}
document.getElementById("in").onclick=()=>zoom(1.6);
document.getElementById("out").onclick=()=>zoom(1/1.6);
document.getElementById("last").onclick=()=>{view.scrollTop=1e9;};
document.getElementById("lost").onchange=draw;
view.onscroll=()=>{place();draw();};
view.addEventListener("wheel",e=>{if(!e.ctrlKey)return;e.preventDefault();
  zoom(e.deltaY<0?1.25:.8,e.clientY-view.getBoundingClientRect().top);},{passive:false});
onkeydown=e=>{if(e.key==="+")zoom(1.6);if(e.key==="-")zoom(1/1.6);};
onresize=draw;
zoom(1);view.scrollTop=D.violation?1e9:0;place();draw();
)js";

}  // namespace keelson::raft::sim
